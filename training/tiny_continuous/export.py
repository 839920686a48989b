"""Write the trained weights in the layout that the package ships."""

from __future__ import annotations

from pathlib import Path

import torch
from silmm_plugins.models.tiny_continuous.decoder import TinyDecoder
from silmm_plugins.models.tiny_continuous.language_model import TinyContinuousLM
from silmm_plugins.models.tiny_continuous.options import WEIGHTS

from training.work_folder import export_weights


def export(model: TinyContinuousLM, decoder: TinyDecoder, out: Path | None) -> None:
    """Write config.json, language_model.safetensors and decoder.safetensors, as bfloat16, into `out`."""
    sizes, body = model.backbone.config, decoder.body.config
    config = {
        "words": list(model.vocabulary.words),
        "language_model": {
            "hidden": sizes.hidden_size, "layers": sizes.num_hidden_layers,
            "heads": sizes.num_attention_heads, "mlp": sizes.intermediate_size,
            "queries": len(model.queries), "patch_mlp": model.patch_encoder[0].out_features,
        },
        "decoder": {
            "features": decoder.projector.in_features, "width": body.in_channels,
            "layers": body.num_layers, "heads": body.num_attention_heads,
            "codes": len(decoder.codebook), "noise_slots": decoder.noise_slots,
            "noise_levels": decoder.noise_levels, "grid": decoder.grid,
        },
    }  # fmt: skip
    export_weights(out or WEIGHTS, config, {"language_model": model, "decoder": decoder}, torch.bfloat16)
