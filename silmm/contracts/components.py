"""The components of the loop that are no model and no trainer: the typed contracts that plugins implement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from silmm.contracts.candidates import Candidate, Pair, Prompt, Question, Sampled
from silmm.contracts.judges import FeedbackJudge
from silmm.contracts.models import BaseModel, Latent

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from jaxtyping import Float
    from torch import Tensor


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
    ) -> Sequence[Sampled | Latent]:
        """Sample one z for each (prompt, seed) pair; the same prompt comes many times with many seeds.

        A bare latent is a :class:`Sampled` without provenance. Features are sampled a second time, from the same
        seeds, for the candidates that pairs use.
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
    """Step 4: scores the candidates of one prompt, from the model's own answers or from anything else it needs."""

    def score(self, candidates: Sequence[Candidate], judge: FeedbackJudge | None) -> Sequence[float | None]:
        """Return one score per candidate, in order; None where a candidate has none, which is counted.

        Args:
            candidates: All of one prompt that can be scored, by index. For a scorer that needs answers each has
                at least one question, and all its answers are finite.
            judge: Answers further yes/no questions; None where stored answers are scored again, which happens
                to scorers that need nothing but answers.
        """
        ...


@dataclass(frozen=True)
class AnswerScorer:
    """A scorer made of a plain function of p(yes), p(no): its mean over the decodes of a candidate."""

    function: Callable[[npt.NDArray[np.float64]], float]
    """Takes the (n_questions, 2) answers about one image."""

    def score(self, candidates: Sequence[Candidate], judge: FeedbackJudge | None = None) -> list[float | None]:
        """Return the mean of the function over each candidate's images; None where nothing was asked."""
        del judge
        return [None if c.answers is None else self._mean(c.answers) for c in candidates]

    def _mean(self, answers: npt.NDArray[np.float64]) -> float:
        import numpy as np  # not above: listing components stays light

        return float(np.mean([self.function(image) for image in answers]))


@runtime_checkable
class Aggregation(Protocol):
    """The first half of a kernel: pools features over their positions, (…, L, D) to (…, L', D)."""

    def __call__(self, features: Float[Tensor, "*batch length dim"]) -> Float[Tensor, "*batch pooled dim"]:
        """Return the pooled features; L' is 1 where a single vector is left, and L for no pooling."""
        ...


@runtime_checkable
class Distance(Protocol):
    """The second half of a kernel: how far two pooled feature matrices are apart; 0 means equal."""

    def __call__(
        self, a: Float[Tensor, "*#batch pooled dim"], b: Float[Tensor, "*#batch pooled dim"]
    ) -> Float[Tensor, "..."]:
        """Return the distance over the last two dimensions (L', D), broadcasting the others; float32."""
        ...


@runtime_checkable
class Kernel(Protocol):
    """A generalised distance k between feature matrices (Eq. 6): small means alike.

    The registry composes it of an aggregation and a distance: `avgpool-cos`; `cos` is the distance alone.
    """

    def __call__(
        self, a: Float[Tensor, "*#batch length dim"], b: Float[Tensor, "*#batch length dim"]
    ) -> Float[Tensor, "..."]:
        """Return k(a, b) over the last two dimensions (L, D), broadcasting the others, in float32."""
        ...


class PairRule(Protocol):
    """Step 5: picks chosen and rejected candidates of one prompt."""

    def pairs(self, candidates: Sequence[Candidate]) -> Sequence[Pair]:
        """Return pairs of candidates, by index; those without a score may be in none.

        Args:
            candidates: All of one prompt; position and index are the same.
        """
        ...
