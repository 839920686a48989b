"""What everything after sampling sees of a candidate: one plain view, arrays read-only, images read when touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from silmm.contracts.models import Image, Latent


@dataclass(frozen=True)
class Prompt:
    """A prompt of the run with its category (one of the paper's, or the file's own)."""

    text: str
    category: str


@dataclass(frozen=True)
class Question:
    """A yes/no question and the statement it asks about."""

    text: str
    statement: str = ""


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Sampled:
    """What a sampler returns for one prompt and seed: the representation and how it came about."""

    latent: Latent
    """z: int32 tokens (L,), or float32 features (L, D)."""
    meta: Mapping[str, Any] = field(default_factory=_nothing)
    """Provenance, JSON-able: the sampler's parameters, a rewritten prompt. Stored in the candidates' table."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One sampled candidate of a prompt with what is known of it so far.

    Scorers see it without a score, pair rules with one. Its arrays are read-only. Images, answers and the features
    of a continuous model are there for components that declare them (``needs`` of the registration).
    """

    prompt: Prompt
    index: int
    """0-based among the candidates of the prompt."""
    seed: int
    """The seed that it was sampled from."""
    score_seed: int
    """For a scorer that uses chance: depends on run, iteration, prompt and index alone."""
    latent: Latent
    """z: int32 tokens (L,), or float32 features (L, D); read when touched."""
    images: Sequence[Image]
    """One uint8 (height, width, 3) image per decode; read when touched."""
    meta: Mapping[str, Any] = field(default_factory=_nothing)
    """The sampler's provenance, JSON-able."""
    questions: tuple[Question, ...] = ()
    answers: npt.NDArray[np.float64] | None = None
    """p(yes), p(no) of shape (decodes, n_questions, 2); None where nothing was asked."""
    score: float | None = None
    """None before scoring, and where the candidate has no score."""


@dataclass(frozen=True)
class Pair:
    """A preference between two candidates of one prompt."""

    chosen: int
    """Index of the candidate that is preferred."""
    rejected: int
    weight: float = 1.0
    """What the pair counts in the loss, above 0."""
