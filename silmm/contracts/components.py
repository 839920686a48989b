"""The components of the loop that are no model and no trainer: the typed contracts that plugins implement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from silmm.contracts.candidates import Prompt, Question
from silmm.contracts.models import BaseModel, Latent

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch


class Prompter(Protocol):
    """Step 1: makes the prompts of an iteration."""

    def write(
        self, model: BaseModel, count: int, seed: int, excluded: Callable[[str], bool]
    ) -> PrompterResult:
        """Return `count` distinct prompts, none of which `excluded` says is held out for evaluation."""
        ...


@dataclass(frozen=True)
class PrompterResult:
    """The prompts and the counts of what was thrown away, for the report."""

    prompts: tuple[Prompt, ...]
    rejected: Mapping[str, int]
    """Reason -> count, for example duplicate, excluded, malformed."""


class Sampler(Protocol):
    """Step 2: samples diverse representations.

    A sampler may keep a `dropped: Counter[str]` of what it could not use and why, over all its calls; the
    stage writes the counts of each shard beside its table.
    """

    def sample(
        self, model: BaseModel, prompts: Sequence[str], seeds: Sequence[int]
    ) -> list[Latent]:
        """Sample one z for each (prompt, seed) pair; the same prompt comes many times with many seeds.

        Features are sampled a second time, from the same seeds, for the candidates that pairs use.
        """
        ...


class Questioner(Protocol):
    """Step 3: turns each prompt into yes/no questions.

    A questioner may keep a `dropped: Counter[str]` of what it threw away and why, over all its calls; the
    stage writes the counts of each shard beside its table.
    """

    def ask(self, model: BaseModel, prompts: Sequence[str]) -> list[tuple[Question, ...]]:
        """Return the questions of each prompt; an empty tuple is counted and the prompt left out."""
        ...


class Scorer(Protocol):
    """Step 4: turns the model's own answers into one score for each image."""

    def score(self, p_yes_no: npt.NDArray[np.float64], seed: int) -> float:
        """Score one image from its (n_questions, 2) array of p(yes), p(no) (Eq. 1).

        Raises:
            ValueError: no questions, or a probability that is not finite.
        """
        ...


class Aggregation(Protocol):
    """The first half of a kernel: pools features over their positions, (…, L, D) to (…, L', D)."""

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Return the pooled features; L' is 1 where a single vector is left, and L for no pooling."""
        ...


class Distance(Protocol):
    """The second half of a kernel: how far two pooled feature matrices are apart; 0 means equal."""

    def __call__(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return the distance over the last two dimensions (L', D), broadcasting the others; float32."""
        ...


class Kernel(Protocol):
    """A generalised distance k between feature matrices (Eq. 6): small means alike.

    The registry composes it of an aggregation and a distance: `avgpool-cos`; `cos` is the distance alone.
    """

    def __call__(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return k(a, b) over the last two dimensions (L, D), broadcasting the others, in float32."""
        ...


class PairRule(Protocol):
    """Step 5: picks chosen and rejected candidates of one prompt."""

    def pairs(self, scores: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
        """Return (chosen, rejected) candidate indices; `scores` is NaN where a candidate has none."""
        ...
