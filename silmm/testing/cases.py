"""What a model is asked in the checks, how close its numbers have to be, and how a check fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from silmm.contracts.models import BaseModel, ChatRequest, Image, Latent, SamplingParams
from silmm.seeds import derive


class Nonconformance(AssertionError):
    """Raised by a check whose promise is not kept."""


@dataclass(frozen=True)
class Cases:
    """Prompts and questions that the model can read, and tolerances.

    Raises:
        ValueError: there are fewer than two prompts, or all are equally long: nothing would be padded.
    """

    prompts: Sequence[str]
    """At least two, of unequal length."""
    questions: Sequence[Sequence[str]]
    """The questions about each prompt's image; unequal numbers of them, of unequal length."""
    sampling: SamplingParams = field(default_factory=SamplingParams)
    tolerance: float = 1e-4
    """Largest |a - b| / (1 + |b|) of numbers that should be equal, in float32."""
    levels: int = 1
    """Largest difference of a pixel, of 255, of images decoded in different company."""
    bf16: float = 0.05
    """Largest difference of bfloat16 from float32: nats a token, or a share of the norm of H."""

    def __post_init__(self) -> None:
        """Refuse cases with which the checks could not fail."""
        if len(self.prompts) < 2 or len({len(prompt) for prompt in self.prompts}) < 2:
            raise ValueError("give at least two prompts of unequal length, or no check meets any padding")
        if len(self.questions) != len(self.prompts):
            raise ValueError(f"{len(self.prompts)} prompts need as many lists of questions")
        if len({len(asked) for asked in self.questions}) < 2:
            raise ValueError("give the images unequal numbers of questions")

    @property
    def seeds(self) -> list[int]:
        """One seed for each prompt, of the size that the loop uses."""
        return [derive(0, "conformance", prompt) for prompt in self.prompts]

    def requests(self, temperature: float = 0.0) -> list[ChatRequest]:
        """Return one chat request about each prompt."""
        return [
            ChatRequest(
                "decompose", prompt, "Name the things in the text.", temperature=temperature, seed=seed,
                max_words=12,
            )
            for prompt, seed in zip(self.prompts, self.seeds, strict=True)
        ]


def sampled(model: BaseModel, cases: Cases) -> list[Latent]:
    """Return one z for each prompt."""
    return model.represent(cases.prompts, cases.seeds, cases.sampling)


def decoded_images(model: BaseModel, cases: Cases) -> list[Image]:
    """Return one image for each prompt."""
    return model.decode(sampled(model, cases), cases.seeds)


def trained_value(model: BaseModel, prompts: Sequence[str], latents: Sequence[Latent]) -> torch.Tensor:
    """Return what training differentiates: log pi(z|x), (batch,), or H, (batch, L, D)."""
    if model.kind == "discrete":
        return model.log_likelihood(prompts, latents)
    return model.features(prompts)


def trains(model: BaseModel) -> bool:
    """Say whether the model declares what training needs."""
    return bool({"log_likelihood", "features"} & model.capabilities)


def array(value: torch.Tensor) -> npt.NDArray[np.float64]:
    """Return a tensor's numbers."""
    numbers: npt.NDArray[np.float64] = value.detach().double().cpu().numpy()
    return numbers


def compare(values: npt.ArrayLike, expected: npt.ArrayLike, tolerance: float, promise: str) -> float:
    """Return the largest |values - expected| / (1 + |expected|).

    Raises:
        Nonconformance: it is larger than `tolerance`, the shapes differ, or a number is not finite.
    """
    a, b = np.asarray(values, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if a.shape != b.shape:
        raise Nonconformance(f"{promise}: shapes {a.shape} and {b.shape} differ")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise Nonconformance(f"{promise}: there are numbers that are not finite")
    if not a.size:
        return 0.0
    difference = np.abs(a - b) / (1.0 + np.abs(b))
    worst = float(difference.max())
    if worst > tolerance:
        position = tuple(int(i) for i in np.unravel_index(int(difference.argmax()), a.shape))
        raise Nonconformance(
            f"{promise}: {a[position]:.8g} at {position} should be {b[position]:.8g} (off by {worst:.2e}, allowed "
            f"{tolerance:.0e})"
        )
    return worst
