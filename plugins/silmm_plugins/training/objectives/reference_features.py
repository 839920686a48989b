"""The reference's features H_r: computed once before the first step, stored in parts, read by the row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from silmm.checkpoint.devices import device_of
from silmm.contracts.models import BaseModel, Preference
from silmm.errors import SilmmError
from silmm.storage.atomic_files import atomic_write

_KEY = "features"
PART = 128
"""Prompts in a file: 128 MiB at (64, 4096) in float32."""


class StoredFeatures:
    """H_r of each prompt, read from its file when asked for; nothing is kept in memory."""

    def __init__(self, files: Sequence[Any]) -> None:
        """Bind open safetensors files, PART prompts each."""
        self._slices = [file.get_slice(_KEY) for file in files]

    def __getitem__(self, position: int) -> torch.Tensor:
        """Return H_r of a prompt, float32 (L, D), on the CPU."""
        part, row = divmod(position, PART)
        features: torch.Tensor = self._slices[part][row]
        return features


def reference_features(
    model: BaseModel,
    preferences: Sequence[Preference],
    *,
    work: Path,
    digest: str,
    prompts: int,
    precision: str,
) -> StoredFeatures:
    """Return H_r(x) of each prompt under the model as it stands, which is the reference.

    Parts that `work` holds under `digest` are kept; the processes of a training share out the others.

    Args:
        model: base model with the start adapter on.
        preferences: the prompts.
        work: the training's folder, the same for all processes.
        digest: of everything that the values depend on.
        prompts: how many to take through the model at once.
        precision: "fp32" or "bf16", the same as for the policy.

    Raises:
        SilmmError: a value is not finite.
    """
    state = PartialState()
    parts = range(0, len(preferences), PART)
    paths = [Path(work) / f"reference-{number:05d}.safetensors" for number in range(len(parts))]
    for number, (first, path) in enumerate(zip(parts, paths, strict=True)):
        if number % state.num_processes == state.process_index and _open(path, digest) is None:
            texts = [preference.prompt for preference in preferences[first : first + PART]]
            values = _compute(model, texts, prompts, precision)
            atomic_write(path, save({_KEY: values}, metadata={"digest": digest}))
    state.wait_for_everyone()
    return StoredFeatures([_open(path, digest) for path in paths])


def policy_features(model: BaseModel, prompts: Sequence[str], precision: str) -> torch.Tensor:
    """Return H, float32 (batch, L, D), in the precision that policy and reference share."""
    device = device_of(model.backbone)
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        return model.features(prompts).float()


def _open(path: Path, digest: str) -> Any | None:
    """Return an open file, or None where there is none of this digest."""
    if not path.is_file():
        return None
    try:
        file: Any = safe_open(path, framework="pt")
    except SafetensorError:  # a damaged file holds nothing that cannot be computed again
        return None
    return file if (file.metadata() or {}).get("digest") == digest else None


@torch.no_grad()
def _compute(model: BaseModel, texts: Sequence[str], prompts: int, precision: str) -> torch.Tensor:
    runs = [texts[first : first + prompts] for first in range(0, len(texts), prompts)]
    values = torch.cat([policy_features(model, run, precision).cpu() for run in runs])
    good = values.isfinite().flatten(1).all(1)
    if not bool(good.all()):
        bad = texts[int((~good).nonzero()[0])]
        raise SilmmError(
            f"training: the reference's features of {bad!r} are not finite; the model or its adapter "
            "is damaged, or trainer.precision does not suit it"
        )
    return values
