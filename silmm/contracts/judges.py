"""What benchmarks ask of their judges: small batched contracts, one for each thing read off an image.

Every judge gives raw answers that do not depend on a benchmark's rules; they are stored, and rules are
applied to what is stored. Answers of one image never depend on what it was batched with. Images are RGB
and shared by the judges of a benchmark: a judge that changes one (`thumbnail`, `paste`) copies it first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from silmm.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image


class BadText(DataError):
    """Raised when a judge cannot read a text as it is, and cutting it would change what is measured."""


class Judge(Protocol):
    """What all judges have in common."""

    @property
    def identity(self) -> Mapping[str, str]:
        """Name everything that its answers depend on: judge, weights and their sha256, precision, input size.

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
    """Gives probabilities: BLIP-VQA of T2I-CompBench++ (docs/spec/benchmarks.md 1.4)."""

    def p_yes(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[NDArray[np.float64]]:
        """Return P(yes) / (P(yes) + P(no)) for each image's questions, each image encoded once."""
        ...


@runtime_checkable
class FeedbackJudge(Judge, Protocol):
    """Whoever answers in a run: the model about its own images, or the model of ``--judge-model``."""

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
class VqaJudge(Judge, Protocol):
    """Answers freely: mPLUG, BLIP, GIT, ViLT, BLIP-2 (docs/spec/benchmarks.md 2.3, 3.3)."""

    def answer(self, images: Sequence[Image], questions: Sequence[Sequence[Question]]) -> list[list[str]]:
        """Return the answers, as the model writes them, to each image's questions."""
        ...


@runtime_checkable
class ClipJudge(Judge, Protocol):
    """Says how near an image and a text are (docs/spec/benchmarks.md 1.5)."""

    def similarity(self, images: Sequence[Image], texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the cosine of image i and text i, shape (n,), in [-1, 1].

        Raises:
            BadText: a text is longer than the model's context; nothing is cut.
        """
        ...


@dataclass(frozen=True)
class Detections:
    """What a detector found in one image, in its own order (the official one: by descending score)."""

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
        """Return what is in each image."""
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
    """Says what is nearer (docs/spec/benchmarks.md 1.8)."""

    def depth(self, images: Sequence[Image]) -> list[NDArray[np.uint8]]:
        """Return inverse depth of each image at its own size, shape (height, width); larger is nearer.

        Min-max normalised for each image and truncated to 8 bit, as the official script stores it.
        """
        ...


@runtime_checkable
class AnswerMatcher(Judge, Protocol):
    """Maps a free answer to one of the choices (docs/spec/benchmarks.md 2.3)."""

    def match(self, answers: Sequence[str], choices: Sequence[Sequence[str]]) -> list[int]:
        """Return the index of the choice nearest to each answer, the first of equals.

        It is asked only for answers that are not literally among their choices.
        """
        ...
