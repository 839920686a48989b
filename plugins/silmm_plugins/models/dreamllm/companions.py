"""Configurations of the two public models inside DreamLLM: from companion folders, or the published values.

The checkpoint holds the weights of CLIP's image tower and of Stable Diffusion, but only the names of the models
whose configuration they have. The hub's repository of Stable Diffusion 2.1 is gone, so its configurations are
repeated here (docs/spec/base-models.md 0.9, 1.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from silmm.checkpoint.folders import read_json
from silmm.errors import DataError
from silmm_plugins.models.dreamllm.checkpoint import DIFFUSION, VISION, plugin

CLIP_L: Mapping[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 14,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
UNET_2_1: Mapping[str, Any] = {
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [320, 640, 1280, 1280],
    "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
    "layers_per_block": 2,
    "cross_attention_dim": 1024,
    "attention_head_dim": [5, 10, 20, 20],
    "use_linear_projection": True,
}
VAE_2_1: Mapping[str, Any] = {
    "sample_size": 512,
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "scaling_factor": 0.18215,
}
SCHEDULE_2_1: Mapping[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
    "steps_offset": 1,
    "clip_sample": False,
}
"""Recalled, not read in the original file, as the specification says."""


REMEDY = "give the folder of its configuration by model.companions, or copy the file again"
"""How a message ends where weights do not fit a configuration."""


@dataclass(frozen=True)
class Companions:
    """The configurations of the networks."""

    clip: Mapping[str, Any]
    unet: Mapping[str, Any]
    vae: Mapping[str, Any]
    schedule: Mapping[str, Any]
    sources: Mapping[str, str]
    """The source of each: a file, or "published values"."""


def find(folder: Path, config: Mapping[str, Any], directory: str) -> Companions:
    """Return the configurations, each from its companion folder where there is one.

    Args:
        folder: the checkpoint.
        config: its config.json; the last part of `*_name_or_path` is the name of a companion folder.
        directory: the folder that holds the companions; empty: `companions` in the checkpoint or beside it.

    Raises:
        DataError: `directory` lacks a companion, or a file cannot be read.
    """
    clip = _name(plugin(config, VISION).get("clip_vision_model_name_or_path"), "clip-vit-large-patch14")
    diffusion = _name(plugin(config, DIFFUSION).get("diffusion_name_or_path"), "stable-diffusion-2-1-base")
    files = {
        "clip": (f"{clip}/config.json", CLIP_L),
        "unet": (f"{diffusion}/unet/config.json", UNET_2_1),
        "vae": (f"{diffusion}/vae/config.json", VAE_2_1),
        "schedule": (f"{diffusion}/scheduler/scheduler_config.json", SCHEDULE_2_1),
    }
    nearby = [folder / "companions", folder.parent / "companions"]
    folders = [Path(directory).expanduser()] if directory else nearby
    configs: dict[str, Mapping[str, Any]] = {}
    sources = {}
    for part, (name, published) in files.items():
        path = next((parent / name for parent in folders if (parent / name).is_file()), None)
        if path is None and directory:
            raise DataError(f"{folders[0] / name} is missing; model.companions has to hold all of "
                            f"{', '.join(file for file, _ in files.values())}")  # fmt: skip
        sources[part] = str(path or "published values")
        configs[part] = published if path is None else _public(read_json(path, f"the configuration of {part}"))
    configs["clip"] = configs["clip"].get("vision_config", configs["clip"])  # one level down in a whole CLIP
    return Companions(**configs, sources=sources)


def _public(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if not key.startswith("_")}


def _name(hint: object, default: str) -> str:
    name = Path(str(hint or default)).name
    return default if name in ("", "..") else name
