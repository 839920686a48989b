"""Log-likelihoods under the reference: computed once before the first step and stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import torch
from accelerate import PartialState
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from silmm.checkpoint.devices import device_of
from silmm.contracts.models import BaseModel, Latent, Preference
from silmm.errors import SilmmError
from silmm.storage.atomic_files import atomic_write
from silmm_plugins.training.objectives.preference_data import length

_FILE = "reference.safetensors"
_KEY = "log_likelihood"

Likelihood: TypeAlias = Callable[[BaseModel, Sequence[str], Sequence[Latent], str], torch.Tensor]
"""log pi(z|x), float32 (batch,), of a model, prompts and candidates, in a precision."""


def policy_log_likelihood(
    model: BaseModel, prompts: Sequence[str], latents: Sequence[Latent], precision: str
) -> torch.Tensor:
    """Return log pi(z|x), float32 (batch,), in the precision that policy and reference share."""
    device = device_of(model.backbone)
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        return model.log_likelihood(prompts, latents).float()


def reference_values(
    model: BaseModel,
    preferences: Sequence[Preference],
    *,
    work: Path,
    digest: str,
    sequences: int,
    precision: str,
    likelihood: Likelihood = policy_log_likelihood,
) -> list[torch.Tensor]:
    """Return log ref(z|x) of each prompt's candidates: float32 (candidates,) each, on the CPU.

    The model as it stands is the reference: a fresh adapter has B = 0, so it is the base; a tuned
    one is the last iteration's policy. Stored in `work` under `digest`; a file of another digest is
    made again.

    Args:
        model: base model with the start adapter on.
        preferences: the prompts with their candidates.
        work: the training's folder.
        digest: of everything that the values depend on.
        sequences: how many to take through the model at once.
        precision: "fp32" or "bf16", the same as for the policy.
        likelihood: how the policy's are computed.

    Raises:
        SilmmError: a value is not finite.
    """
    counts = [len(preference.latents) for preference in preferences]
    path = Path(work) / _FILE
    values = _stored(path, digest)
    if values is None or len(values) != sum(counts):
        values = _compute(model, preferences, sequences, precision, likelihood)
        if PartialState().is_main_process:
            atomic_write(path, save({_KEY: values}, metadata={"digest": digest}))
    return list(torch.split(values, counts))


def _stored(path: Path, digest: str) -> torch.Tensor | None:
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("digest") != digest:
                return None
            values: torch.Tensor = file.get_tensor(_KEY)
            return values
    except SafetensorError:  # a damaged file holds nothing that cannot be computed again
        return None


@torch.no_grad()
def _compute(
    model: BaseModel,
    preferences: Sequence[Preference],
    sequences: int,
    precision: str,
    likelihood: Likelihood,
) -> torch.Tensor:
    items = [
        (length(preference), preference.prompt, z) for preference in preferences for z in preference.latents
    ]
    order = sorted(range(len(items)), key=lambda i: (items[i][0], i))
    values = torch.empty(len(items), dtype=torch.float32)
    for start in range(0, len(order), sequences):
        rows = order[start : start + sequences]
        result = likelihood(model, [items[i][1] for i in rows], [items[i][2] for i in rows], precision)
        values[rows] = result.cpu()
    if not bool(values.isfinite().all()):
        bad = items[int((~values.isfinite()).nonzero()[0])]
        raise SilmmError(
            f"training: the reference log-likelihood of a candidate of {bad[1]!r} is not finite; "
            "the model or its adapter is damaged, or trainer.precision does not suit it"
        )
    return values
