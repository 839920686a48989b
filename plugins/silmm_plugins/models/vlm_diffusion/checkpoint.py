"""Loads a diffusers pipeline in two halves: its vision-language model, and its decoder."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from diffusers import QwenImagePipeline
from transformers import Qwen2_5_VLForConditionalGeneration

from silmm.checkpoint.folders import checkpoint_folder, first_line, read_json
from silmm.checkpoint.networks import load_pretrained
from silmm.checkpoint.weight_files import UNREADABLE, check_safetensors
from silmm.errors import DataError

PIPELINES = ("QwenImagePipeline",)
_TEXT_ENCODER = "Qwen2_5_VLForConditionalGeneration"
_PARTS = ("text_encoder", "tokenizer", "transformer", "vae", "scheduler")
_FILES = ("*.json", "*.safetensors", "*.txt", "*.jinja")
"""Files that are fetched from the hub."""


def locate(path: str, revision: str | None) -> Path:
    """Return the folder of a pipeline; a hub id is fetched, at its revision.

    Raises:
        UsageError: no path is given.
        DataError: there is no such folder or hub id, it is another kind of pipeline, or a file of weights is
            cut short.
    """
    folder = checkpoint_folder(
        path, _FILES, owner="vlm-diffusion", expected="the folder of the pipeline", revision=revision
    )
    index = folder / "model_index.json"
    stored = read_json(index, f"the index of a {' or '.join(PIPELINES)}")
    kind, encoder = stored.get("_class_name"), (stored.get("text_encoder") or [None])[-1]
    if kind not in PIPELINES or encoder != _TEXT_ENCODER:
        raise DataError(
            f"{index}: a {kind} with the text encoder {encoder}; vlm-diffusion loads "
            f"{', '.join(PIPELINES)} with {_TEXT_ENCODER}"
        )
    missing = [part for part in _PARTS if not (folder / part).is_dir()]
    if missing:
        raise DataError(f"{folder / missing[0]} is missing; a {kind} has {', '.join(_PARTS)}; copy it again")
    check_safetensors(sorted(folder.rglob("*.safetensors")))
    return folder


def stored_dtype(folder: Path) -> tuple[object, Path]:
    """Return the stored number format of the vision-language model, and the file that states it.

    Raises:
        DataError: the file cannot be read.
    """
    path = folder / "text_encoder" / "config.json"
    config = read_json(path, "the configuration of the text encoder")
    return config.get("dtype") or config.get("torch_dtype"), path


def load_vlm(folder: Path, dtype: torch.dtype) -> torch.nn.Module:
    """Return the vision-language model of a pipeline, frozen and in eval mode.

    Raises:
        DataError: weights are missing, damaged or of other sizes.
    """
    model: torch.nn.Module = load_pretrained(
        Qwen2_5_VLForConditionalGeneration, folder / "text_encoder", dtype, use_safetensors=True,
        attn_implementation="sdpa",
    )  # fmt: skip
    return model


def load_decoder(folder: Path, dtype: torch.dtype) -> Any:
    """Return the rest of the pipeline, without its text encoder.

    Raises:
        DataError: weights are missing, damaged or of other sizes.
    """
    try:
        with warnings.catch_warnings():  # the old name of `dtype`, which every version of diffusers accepts
            warnings.filterwarnings("ignore", "`torch_dtype` is deprecated", FutureWarning)
            pipeline = QwenImagePipeline.from_pretrained(
                folder, text_encoder=None, torch_dtype=dtype, use_safetensors=True, local_files_only=True
            )
    except UNREADABLE as error:
        raise DataError(
            f"{folder} cannot be loaded as QwenImagePipeline: {first_line(error)}; copy it again"
        ) from error
    for network in (pipeline.transformer, pipeline.vae):
        network.eval().requires_grad_(False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline

