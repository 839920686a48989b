"""Write the trained weights in the layout that the package ships."""

from __future__ import annotations

from pathlib import Path

from silmm_plugins.models.tiny_discrete.image_tokenizer import TinyImageTokenizer
from silmm_plugins.models.tiny_discrete.language_model import TinyDiscreteLM
from silmm_plugins.models.tiny_discrete.options import WEIGHTS

from training.work_folder import export_weights


def export(model: TinyDiscreteLM, tokenizer: TinyImageTokenizer, out: Path | None) -> None:
    """Write config.json, language_model.safetensors and image_tokenizer.safetensors into `out`."""
    sizes = model.backbone.config
    config = {
        "words": list(model.vocabulary.words),
        "language_model": {
            "hidden": sizes.hidden_size, "layers": sizes.num_hidden_layers,
            "heads": sizes.num_attention_heads, "mlp": sizes.intermediate_size, "codes": model.codes,
        },
        "image_tokenizer": {"codes": tokenizer.codes},
    }  # fmt: skip
    export_weights(out or WEIGHTS, config, {"image_tokenizer": tokenizer, "language_model": model})
