"""The contracts of judges: small batched methods, one for each thing that can be read off an image.

Every judge gives raw answers that do not depend on a benchmark's rules; they are stored, and rules are applied to
what is stored. The answers about one image never depend on the batch that it was in. Images are RGB and shared by
the judges of a benchmark: a judge that changes one (`thumbnail`, `paste`) copies it first.

A benchmark asks for roles, not for judges (:data:`ROLES`). A judge holds every role whose method it has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from silmm.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

ROLES: Mapping[str, str] = MappingProxyType({
    "yes-no": "p_yes",
    "probabilities": "yes_no",
    "vqa": "answer",
    "clip": "similarity",
    "rating": "rate",
    "detector": "detect",
    "colours": "colours",
    "depth": "depth",
    "matcher": "match",
})
"""Role → the method that answers it; `detector-2d` is a detector too. `compare` needs two images, so that no role of a
benchmark, which asks about one image at a time, has it."""

LEFT_OUT = "none"
"""In place of a judge's name: the role stays empty, and so do the columns that need it."""


class BadText(DataError):
    """Raised when a judge cannot read a text as it is, and cutting it would change what is measured."""


class Judge(Protocol):
    """What all judges have in common."""

    @property
    def identity(self) -> Mapping[str, str]:
        """Name everything that the answers depend on: judge, weights and their sha256, precision, input size.

        It goes into the protocol card, and answers are stored under its hash.
        """
        ...


@dataclass(frozen=True)
class Question:
    """One question about an image."""

    text: str
    choices: tuple[str, ...] = ()
    """Allowed answers, for judges that are shown them (BLIP-2 in TIFA); the others ignore them."""


@runtime_checkable
class YesNoJudge(Judge, Protocol):
    """Gives the probabilities of yes and of no, as base models do; it can hold the role `yes-no` too."""

    def yes_no(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[NDArray[np.float64]]:
        """Return p(yes) and p(no) for each image's questions, shape (n_questions, 2) per image.

        The two need not add up to 1. Each image is encoded once.
        """
        ...


@runtime_checkable
class FeedbackJudge(Judge, Protocol):
    """Answers in a run: the model about its own images, or the model of ``--judge-model``."""

    def yes_no(
        self, images: Sequence[NDArray[np.uint8]], questions: Sequence[Sequence[str]]
    ) -> list[NDArray[np.float64]]:
        """Return p(yes), p(no) of each image's questions, (n_questions, 2) per image.

        Args:
            images: uint8 of shape (height, width, 3).
            questions: at least one per image.
        """
        ...


@runtime_checkable
class TwoChoiceJudge(Judge, Protocol):
    """Gives the official number of BLIP-VQA in T2I-CompBench++ (docs/spec/benchmarks.md 1.4)."""

    def p_yes(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[NDArray[np.float64]]:
        """Return P(yes) / (P(yes) + P(no)) for each image's questions, shape (n_questions,) per image."""
        ...


@runtime_checkable
class VqaJudge(Judge, Protocol):
    """Answers in words: mPLUG, BLIP, GIT, ViLT, BLIP-2 (docs/spec/benchmarks.md 2.3, 3.3)."""

    def answer(self, images: Sequence[Image], questions: Sequence[Sequence[Question]]) -> list[list[str]]:
        """Return the answers, as the model writes them, to each image's questions."""
        ...


@runtime_checkable
class SimilarityJudge(Judge, Protocol):
    """Measures how similar an image and a text are (docs/spec/benchmarks.md 1.5)."""

    def similarity(self, images: Sequence[Image], texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the cosine of image i and text i, shape (n,), in [-1, 1].

        Raises:
            BadText: a text is longer than the model's context; nothing is cut.
        """
        ...


@runtime_checkable
class RatingJudge(Judge, Protocol):
    """Rates images: reward models, and LMMs that are asked for a score."""

    def rate(self, images: Sequence[Image], texts: Sequence[str]) -> NDArray[np.float64]:
        """Return how well image i fits text i (a prompt or an instruction), shape (n,).

        Larger is better. The scale is the judge's own and is named in its identity.

        Raises:
            BadText: a text is longer than the model's context; nothing is cut.
        """
        ...


@runtime_checkable
class ComparisonJudge(Judge, Protocol):
    """Compares two images of one prompt."""

    def compare(
        self, first: Sequence[Image], second: Sequence[Image], texts: Sequence[str]
    ) -> NDArray[np.float64]:
        """Return the probability that the first image fits text i better than the second, shape (n,), in [0, 1].

        A judge whose answer depends on the order asks in both orders and averages.
        """
        ...


@dataclass(frozen=True)
class Detections:
    """The objects that a detector found in one image, in its own order (the official one: by descending score)."""

    labels: tuple[str, ...]
    scores: NDArray[np.float32]
    """Shape (n,), in [0, 1]."""
    boxes: NDArray[np.float32]
    """Shape (n, 4): x1, y1, x2, y2 in pixels of the frame."""
    frame: tuple[int, int]
    """Width and height of the resized image that the boxes refer to (docs/spec/benchmarks.md 1.6)."""
    masks: tuple[str, ...] = ()
    """Each object's mask at the frame's size in COCO's run-length encoding; empty for detectors without masks."""


@runtime_checkable
class Detector(Judge, Protocol):
    """Finds named objects (docs/spec/benchmarks.md 1.6)."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The names that it can give."""
        ...

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        """Return the detections of each image."""
        ...


@dataclass(frozen=True)
class Region:
    """A detected object of an image."""

    label: str
    box: tuple[float, float, float, float]
    """x1, y1, x2, y2 in pixels of the frame."""
    frame: tuple[int, int]
    """Width and height of the image that box and mask refer to, upright as its EXIF data says."""
    mask: str = ""
    """The object's mask at the frame's size in COCO's run-length encoding; "" if there is none."""


@runtime_checkable
class ColourJudge(Judge, Protocol):
    """Names the colour of an object (docs/spec/geneval.md 2.5)."""

    def colours(self, images: Sequence[Image], regions: Sequence[Sequence[Region]]) -> list[list[str]]:
        """Return the colour of each region of each image."""
        ...


@runtime_checkable
class DepthJudge(Judge, Protocol):
    """Estimates which parts of an image are nearer (docs/spec/benchmarks.md 1.8)."""

    def depth(self, images: Sequence[Image]) -> list[NDArray[np.uint8]]:
        """Return the inverse depth of each image at its own size, shape (height, width); larger is nearer.

        Min-max normalised for each image and truncated to 8 bit, as the official script stores it.
        """
        ...


@runtime_checkable
class AnswerMatcher(Judge, Protocol):
    """Maps a free answer to one of the choices (docs/spec/benchmarks.md 2.3)."""

    def match(self, answers: Sequence[str], choices: Sequence[Sequence[str]]) -> list[int]:
        """Return the index of the choice nearest to each answer, the first of equals.

        It is asked only about answers that are not literally among their choices.
        """
        ...
