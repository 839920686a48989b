"""Loading a diffusers pipeline in two halves: its vision-language model, and what decodes."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from diffusers import QwenImagePipeline
from safetensors import SafetensorError, safe_open
from transformers import Qwen2_5_VLForConditionalGeneration

from silmm.errors import DataError, UsageError
from silmm_plugins.models._shared.checkpoint_folder import checkpoint_folder

PIPELINES = ("QwenImagePipeline",)
_TEXT_ENCODER = "Qwen2_5_VLForConditionalGeneration"
_PARTS = ("text_encoder", "tokenizer", "transformer", "vae", "scheduler")
_FILES = ("*.json", "*.safetensors", "*.txt", "*.jinja")
"""What is fetched from the hub."""
_FAILURES = (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError)
"""What transformers and diffusers raise for files that are missing, damaged or of other sizes."""


def locate(path: str, revision: str | None) -> Path:
    """Return the folder of a pipeline; a hub id is fetched, at its revision.

    Raises:
        UsageError: no path is given.
        DataError: there is no such folder or hub id, it is another kind of pipeline, or a file of weights is
            cut short.
    """
    if not path:
        raise UsageError(
            "vlm-diffusion needs its pipeline: give --model vlm-diffusion:DIR or --set model.path=DIR, or a "
            "hub id"
        )
    folder = checkpoint_folder(path, _FILES, revision=revision)
    index = folder / "model_index.json"
    try:
        parts = json.loads(index.read_text(encoding="utf-8"))
        kind, encoder = parts["_class_name"], parts["text_encoder"][1]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(
            f"{index} cannot be read as the index of a diffusers pipeline ({error}); expected one of "
            f"{', '.join(PIPELINES)}"
        ) from error
    if kind not in PIPELINES or encoder != _TEXT_ENCODER:
        raise DataError(
            f"{index}: a {kind} with the text encoder {encoder}; vlm-diffusion knows "
            f"{', '.join(PIPELINES)} with {_TEXT_ENCODER}"
        )
    missing = [part for part in _PARTS if not (folder / part).is_dir()]
    if missing:
        raise DataError(f"{folder / missing[0]} is missing; a {kind} has {', '.join(_PARTS)}; copy it again")
    for shard in sorted(folder.rglob("*.safetensors")):
        try:
            with safe_open(shard, framework="pt"):
                pass
        except (OSError, SafetensorError) as error:
            raise DataError(f"{shard} is damaged or cut short ({error}); copy it again") from error
    return folder


def stored_dtype(folder: Path) -> tuple[object, Path]:
    """Return the number format that the vision-language model says it is stored in, and where it says so.

    Raises:
        DataError: the file cannot be read.
    """
    path = folder / "text_encoder" / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        return config.get("dtype") or config.get("torch_dtype"), path
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{path} cannot be read as a configuration ({error}); copy it again") from error


def load_vlm(folder: Path, dtype: torch.dtype) -> torch.nn.Module:
    """Return the vision-language model of a pipeline, frozen and in eval mode.

    Raises:
        DataError: weights are missing, damaged or of other sizes.
    """
    place = folder / "text_encoder"
    try:
        model, report = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            place, dtype=dtype, use_safetensors=True, local_files_only=True, output_loading_info=True,
            attn_implementation="sdpa",
        )  # fmt: skip
    except _FAILURES as error:
        raise DataError(
            f"{place} cannot be loaded as {_TEXT_ENCODER}: {_line(error)}; copy it again"
        ) from error
    missing = sorted(map(str, report["missing_keys"]))
    if missing:
        raise DataError(f"{place}: {len(missing)} weights are missing, the first is {missing[0]}")
    loaded: torch.nn.Module = model.eval().requires_grad_(False)
    return loaded


def load_decoder(folder: Path, dtype: torch.dtype) -> Any:
    """Return the rest of the pipeline, without its text encoder.

    Raises:
        DataError: weights are missing, damaged or of other sizes.
    """
    try:
        with warnings.catch_warnings():  # the old name of `dtype`, which every version of diffusers takes
            warnings.filterwarnings("ignore", "`torch_dtype` is deprecated", FutureWarning)
            pipeline = QwenImagePipeline.from_pretrained(
                folder, text_encoder=None, torch_dtype=dtype, use_safetensors=True, local_files_only=True
            )
    except _FAILURES as error:
        raise DataError(
            f"{folder} cannot be loaded as QwenImagePipeline: {_line(error)}; copy it again"
        ) from error
    for network in (pipeline.transformer, pipeline.vae):
        network.eval().requires_grad_(False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
