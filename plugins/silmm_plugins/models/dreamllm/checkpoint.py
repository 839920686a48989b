"""The configuration of a DreamLLM folder and the names of its plugin files.

The `_target_` import paths of config.json are ignored (docs/spec/base-models.md 1.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from silmm.checkpoint.folders import read_json
from silmm.errors import DataError

DREAM, VISION, DIFFUSION = "dream_embedding", "clip_vision_embedding", "stable_diffusion_head"
"""The plugins of the original, each with a file `NAME.bin` and an entry in `plugins_init_kwargs`."""
FILES = ["*.json", "*.safetensors", "*.bin", "tokenizer.model"]
"""Files that are fetched from the hub."""


def read_config(folder: Path) -> dict[str, Any]:
    """Return config.json of a DreamLLM checkpoint.

    Raises:
        DataError: it is missing, or of another kind of model.
    """
    config = read_json(folder / "config.json", "the configuration of a DreamLLM checkpoint")
    kind = config.get("model_type")
    if kind != "dreamllm":
        raise DataError(
            f"{folder / 'config.json'}: model_type is {kind!r}, expected 'dreamllm'; take the folder of a "
            "DreamLLM checkpoint, or the adapter of this model (`silmm plugins`)"
        )
    for key in ("special_tokens2ids_dict", "plugins_init_kwargs"):
        if not isinstance(config.get(key), dict):
            raise DataError(f"{folder / 'config.json'}: {key} is missing; copy the file again")
    return config


def plugin(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the constructor arguments of a plugin, or an empty table."""
    arguments = config["plugins_init_kwargs"].get(name)
    return arguments if isinstance(arguments, dict) else {}
