"""Representations: the features of continuous models, and checks of stored codes and features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from silmm.contracts.models import BaseModel, Latent, SamplingParams
from silmm.errors import DataError
from silmm_plugins.models._shared.sequences import slices


def checked_codes(
    owner: str, latents: Sequence[Latent], names: Sequence[str], length: int, codes: int, remedy: str = ""
) -> torch.Tensor:
    """Return image codes as int64 (batch, length), on the CPU.

    Args:
        owner: the base model, for messages.
        latents: int32 (length,) each.
        names: what each belongs to, such as "prompt 'a cat'", for messages.
        length: codes of an image.
        codes: size of the codebook.
        remedy: how the message about another length ends.

    Raises:
        DataError: a representation has another shape or a code that is not in the codebook.
    """
    for latent, name in zip(latents, names, strict=True):
        if latent.shape != (length,):
            raise DataError(
                f"the image tokens of {name} have the shape {latent.shape}; {owner} takes {length} of them, as it "
                f"samples them itself{remedy}"
            )
        tokens = latent.astype(np.int64)
        wrong = tokens[(tokens < 0) | (tokens >= codes)]
        if len(wrong):
            raise DataError(
                f"{wrong[0]} is among the image tokens of {name}; those of {owner} are 0 to {codes - 1}"
            )
    rows = [latent.astype(np.int64) for latent in latents]
    return torch.from_numpy(np.stack(rows)) if rows else torch.zeros(0, length, dtype=torch.long)


def checked_features(owner: str, latent: Latent, shape: tuple[int, ...]) -> Latent:
    """Return features as float32.

    Args:
        owner: the base model, for messages.
        latent: the features.
        shape: (L, D) of the model's own.

    Raises:
        DataError: the features have another shape, or are not finite.
    """
    if latent.shape != shape or not np.isfinite(latent).all():
        problem = "such as hold NaN or infinity" if latent.shape == shape else latent.shape
        raise DataError(
            f"{owner} decodes finite features of the shape {shape}, not {problem}; give features that it sampled itself"
        )
    return latent.astype(np.float32)


class FeatureModel(BaseModel):
    """A continuous base model, whose H(x) is a function of the prompt alone."""

    kind = "continuous"
    sampling_batch_size: int
    """Prompts whose H is computed at once."""

    @torch.inference_mode()
    def represent(
        self, prompts: Sequence[str], seeds: Sequence[int], sampling: SamplingParams  # noqa: ARG002
    ) -> list[Latent]:
        """Return H(x), float32 (L, D), of each prompt; it is deterministic, so seeds change nothing."""
        distinct = list(dict.fromkeys(prompts))
        rows: list[Latent] = []
        for part in slices(len(distinct), self.sampling_batch_size):
            rows += list(self.features(distinct[part]).float().cpu().numpy())
        by_prompt = dict(zip(distinct, rows, strict=True))
        return [by_prompt[prompt] for prompt in prompts]
