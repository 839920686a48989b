"""Write the trained weights in the layout that the package ships."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import silmm_plugins.models.tiny_discrete as package
from safetensors.torch import save_file
from silmm_plugins.models.tiny_discrete.image_tokenizer import TinyImageTokenizer
from silmm_plugins.models.tiny_discrete.language_model import TinyDiscreteLM


def export(model: TinyDiscreteLM, tokenizer: TinyImageTokenizer, out: Path | None) -> None:
    """Write config.json, language_model.safetensors and image_tokenizer.safetensors into `out`."""
    folder = out or Path(package.__file__).parent / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    base = model.backbone.config
    config = {
        "words": list(model.vocabulary.words),
        "language_model": {
            "hidden": base.hidden_size, "layers": base.num_hidden_layers,
            "heads": base.num_attention_heads, "mlp": base.intermediate_size, "codes": model.codes,
        },
        "image_tokenizer": {"codes": tokenizer.codes},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    tensors = {k: v.contiguous() for k, v in model.state_dict().items() if "lm_head" not in k}
    save_file(tensors, folder / "language_model.safetensors")
    save_file(
        {k: v.contiguous() for k, v in tokenizer.state_dict().items()},
        folder / "image_tokenizer.safetensors",
    )
    files = ("config.json", "image_tokenizer.safetensors", "language_model.safetensors")
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files}
    (folder / "sha256.json").write_text(json.dumps(hashes, indent=1, sort_keys=True) + "\n")
