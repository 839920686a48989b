"""The trainer's view of the preferences: unique candidates, their pairs, their reference values."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from silmm.contracts.models import Latent, Preference
from silmm.errors import DataError
from silmm_plugins.training.lora.lora_options import Weighting
from silmm_plugins.training.objectives.pair_batch import PairBatch


def check(preferences: Sequence[Preference]) -> None:
    """Refuse preferences that cannot be trained on.

    Raises:
        DataError: there are none, a prompt has no pairs, or a pair names the same or no candidate.
    """
    if not preferences:
        raise DataError(
            "there are no preference pairs to train on: every prompt's candidates scored alike or "
            "could not be scored; sample more images per prompt, or see the scores table"
        )
    for preference in preferences:
        allowed = range(len(preference.latents))
        bad = [p for p in preference.pairs if p[0] == p[1] or p[0] not in allowed or p[1] not in allowed]
        if bad or not preference.pairs:
            raise DataError(
                f"prompt {preference.prompt!r} with {len(preference.latents)} candidates has "
                f"{f'a wrong pair {bad[0]}' if bad else 'no pairs'}; make the pairs again"
            )


def digest(preferences: Sequence[Preference], settings: Mapping[str, object]) -> str:
    """Return the SHA-256 of pairs and settings, to recognise a training's stored values.

    The base model is not in it: the directory that holds the values belongs to one model.
    """
    state = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for preference in preferences:
        head = [preference.prompt, preference.pairs, preference.weights, preference.scores]
        state.update(json.dumps(head).encode())
        for z in preference.latents:
            state.update(f"{z.dtype.str}{z.shape}".encode())
            state.update(np.ascontiguousarray(z).tobytes())
    return state.hexdigest()


def pair_weights(preferences: Sequence[Preference], weighting: Weighting) -> list[torch.Tensor]:
    """Return what the pairs of each prompt count in the loss, float32 (pairs,) each.

    Args:
        preferences: the prompts, with each pair's own weight.
        weighting: "gap" multiplies it by the pair's score gap over the mean gap of all pairs, which keeps the
            mean weight and with it the size of the loss.

    Raises:
        DataError: by "gap", a candidate has no score, or no chosen candidate scores above its rejected one.
    """
    weights = [torch.tensor(preference.weights, dtype=torch.float64) for preference in preferences]
    if weighting == "gap":
        gaps = [_gaps(preference) for preference in preferences]
        mean = float(torch.cat(gaps).mean())
        if not mean > 0:
            raise DataError(
                f"trainer.weighting=gap: the mean score gap of the pairs is {mean:g}; it must be above 0. Use "
                "pairs whose chosen candidates score higher, or trainer.weighting=none."
            )
        weights = [weight * gap / mean for weight, gap in zip(weights, gaps, strict=True)]
    return [weight.float() for weight in weights]


def _gaps(preference: Preference) -> torch.Tensor:
    """Return score of the chosen - score of the rejected of each pair, float64 (pairs,)."""
    scores = torch.tensor([math.nan if score is None else score for score in preference.scores], dtype=torch.float64)
    chosen, rejected = torch.tensor(preference.pairs).T
    gaps = scores[chosen] - scores[rejected]
    if not bool((gaps >= 0).all()):
        raise DataError(
            f"trainer.weighting=gap: a pair of prompt {preference.prompt!r} lacks a score, or its rejected candidate "
            "scores higher than its chosen one. Give the scores of all pairs, or trainer.weighting=none."
        )
    return gaps


def weights_digest(adapter: Path | None) -> str:
    """Return the SHA-256 of an adapter's weights, or "base" for none."""
    if adapter is None:
        return "base"
    return hashlib.sha256((Path(adapter) / "adapter_model.safetensors").read_bytes()).hexdigest()


def length(preference: Preference) -> int:
    """Return about how many tokens a sequence of the prompt has, to batch sequences of like length."""
    return len(preference.prompt.split()) + max(len(z) for z in preference.latents)


def collate(
    preferences: Sequence[Preference], reference: Sequence[torch.Tensor], device: torch.device
) -> PairBatch:
    """Put the candidates of several prompts side by side.

    Args:
        preferences: the prompts.
        reference: log ref(z|x) of each prompt's candidates, shape (candidates,) each.
        device: of the tensors.
    """
    prompts: list[str] = []
    latents: list[Latent] = []
    chosen: list[int] = []
    rejected: list[int] = []
    for preference in preferences:
        offset = len(latents)
        prompts += [preference.prompt] * len(preference.latents)
        latents += list(preference.latents)
        chosen += [offset + pair[0] for pair in preference.pairs]
        rejected += [offset + pair[1] for pair in preference.pairs]
    return PairBatch(
        prompts=prompts,
        latents=latents,
        reference=torch.cat(list(reference)).to(device),
        tokens=torch.tensor([float(z.size) for z in latents], device=device),
        chosen=torch.tensor(chosen, device=device),
        rejected=torch.tensor(rejected, device=device),
    )
