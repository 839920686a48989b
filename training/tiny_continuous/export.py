"""Write the trained weights in the layout that the package ships."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import silmm_plugins.models.tiny_continuous as package
import torch
from safetensors.torch import save_file
from silmm_plugins.models.tiny_continuous.decoder import TinyDecoder
from silmm_plugins.models.tiny_continuous.language_model import TinyContinuousLM
from torch import Tensor, nn


def export(model: TinyContinuousLM, decoder: TinyDecoder, out: Path | None) -> None:
    """Write config.json, language_model.safetensors and decoder.safetensors, as bfloat16, into `out`."""
    folder = out or Path(package.__file__).parent / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    base, body = model.backbone.config, decoder.body.config
    config = {
        "words": list(model.vocabulary.words),
        "language_model": {
            "hidden": base.hidden_size, "layers": base.num_hidden_layers,
            "heads": base.num_attention_heads, "mlp": base.intermediate_size,
            "queries": len(model.queries), "patch_mlp": model.patch_encoder[0].out_features,
        },
        "decoder": {
            "features": decoder.projector.in_features, "width": body.in_channels,
            "layers": body.num_layers, "heads": body.num_attention_heads,
            "codes": len(decoder.codebook), "noise_slots": decoder.noise_slots,
            "noise_levels": decoder.noise_levels, "grid": decoder.grid,
        },
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    save_file(_halves(model), folder / "language_model.safetensors")
    save_file(_halves(decoder), folder / "decoder.safetensors")
    files = ("config.json", "language_model.safetensors", "decoder.safetensors")
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files}
    (folder / "sha256.json").write_text(json.dumps(hashes, indent=1, sort_keys=True) + "\n")


def _halves(module: nn.Module) -> dict[str, Tensor]:
    tensors = module.state_dict().items()
    return {k: v.to(torch.bfloat16).contiguous() for k, v in tensors if "lm_head" not in k}
