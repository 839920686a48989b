"""Canaries: before a judge scores, it answers known questions about images that are sampled here.

They compare answers with each other rather than with a threshold wherever a judge gives numbers: a right
judge is never refused for being unsure, and random or broken weights seldom pass all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from silmm.contracts.judges import Question
from silmm.errors import SilmmError

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 512
RED, WHITE = (220, 20, 20), (255, 255, 255)
SURE = 0.5
"""A detection of this score on a blank image is a hallucination."""

TRUE, FALSE = "a red circle", "a green car"
MATCHES = (
    ("a puppy", ("car", "dog", "tree"), 1),
    ("crimson", ("green", "blue", "red"), 2),
    ("nope", ("yes", "no"), 1),
)
"""Answer, choices, and the place of the right one."""


@dataclass(frozen=True)
class CanaryResult:
    """What one canary showed."""

    name: str
    passed: bool
    detail: str

    def __str__(self) -> str:
        """Return name and detail in one line."""
        return f"{self.name}: {self.detail}"


def circle() -> Image:
    """Return a red disc on white."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (SIDE, SIDE), WHITE)
    quarter = SIDE // 4
    ImageDraw.Draw(image).ellipse([quarter, quarter, SIDE - quarter, SIDE - quarter], fill=RED)
    return image


def blank() -> Image:
    """Return a white image."""
    from PIL import Image

    return Image.new("RGB", (SIDE, SIDE), WHITE)


def check(judge: Any) -> list[CanaryResult]:
    """Ask a judge what is known, by everything that it can do, and return what it showed.

    An error of the judge is a failed canary: it could not have scored.
    """
    results: list[CanaryResult] = []
    for method, canaries in _CANARIES.items():
        if not callable(getattr(judge, method, None)):
            continue
        try:
            results += canaries(judge)
        except SilmmError as error:
            results.append(CanaryResult(method, False, str(error)))
    return results


def _p_yes(judge: Any) -> Iterator[CanaryResult]:
    seen, empty = judge.p_yes([circle(), blank()], [[f"{TRUE}?", f"{FALSE}?"], [f"{TRUE}?"]])
    yield _larger("true over false", seen[0], seen[1], f"p_yes of {TRUE!r} and of {FALSE!r} on a red circle")
    yield _larger("image over blank", seen[0], empty[0], f"p_yes of {TRUE!r} on it and on a blank image")


def _answer(judge: Any) -> Iterator[CanaryResult]:
    colour = Question("what color is the circle?", ("red", "green", "blue", "yellow"))
    wrong = Question("is the circle green?", ("yes", "no"))
    there = Question("is there a circle?", ("yes", "no"))
    seen, empty = judge.answer([circle(), blank()], [[colour, wrong], [there]])
    for name, question, said, right in (
        ("true", colour, seen[0], "red"), ("false", wrong, seen[1], "no"), ("blank", there, empty[0], "no"),
    ):
        image = "a blank image" if name == "blank" else "a red circle"
        passed = right in said.lower().split()
        asked = f"{question.text!r} about {image}"
        yield CanaryResult(name, passed, f"{asked}: {said[:40]!r}, right is {right!r}")


def _similarity(judge: Any) -> Iterator[CanaryResult]:
    seen = circle()
    right, wrong, empty = judge.similarity([seen, seen, blank()], [TRUE, FALSE, TRUE])
    yield _larger("right over wrong text", right, wrong, f"cosine of a red circle with {TRUE!r}, {FALSE!r}")
    yield _larger("image over blank", right, empty, f"cosine of {TRUE!r} with it and with a blank image")


def _detect(judge: Any) -> Iterator[CanaryResult]:
    (found,) = judge.detect([blank()])
    scores, boxes = np.asarray(found.scores), np.asarray(found.boxes)
    finite = bool(np.isfinite(scores).all() and np.isfinite(boxes).all())
    yield CanaryResult("finite", finite, f"{len(scores)} scores and boxes on a blank image")
    best = float(scores.max()) if len(scores) else 0.0
    named = found.labels[int(scores.argmax())] if len(scores) else "nothing"
    yield CanaryResult("blank", finite and best < SURE, f"best on a blank image: {named} with {best:.3f}")


def _depth(judge: Any) -> Iterator[CanaryResult]:
    (depth,) = judge.depth([circle()])
    shaped = depth.shape == (SIDE, SIDE) and depth.dtype == np.uint8
    yield CanaryResult("shape", shaped, f"{depth.dtype} {depth.shape} for an image of {SIDE} x {SIDE}")
    low, high = int(depth.min()), int(depth.max())
    yield CanaryResult("not flat", high > low, f"from {low} to {high}")


def _match(judge: Any) -> Iterator[CanaryResult]:
    found = judge.match([answer for answer, _, _ in MATCHES], [choices for _, choices, _ in MATCHES])
    for (answer, choices, right), index in zip(MATCHES, found, strict=True):
        detail = f"{answer!r} is nearest to {choices[index]!r}, right is {choices[right]!r}"
        yield CanaryResult(f"match {answer!r}", index == right, detail)


def _larger(name: str, more: float, less: float, what: str) -> CanaryResult:
    # NaN compares false, so that it fails.
    return CanaryResult(name, bool(more > less), f"{what}: {more:.4f} and {less:.4f}")


_CANARIES: dict[str, Callable[[Any], Iterator[CanaryResult]]] = {
    "p_yes": _p_yes, "answer": _answer, "similarity": _similarity,
    "detect": _detect, "depth": _depth, "match": _match,
}
