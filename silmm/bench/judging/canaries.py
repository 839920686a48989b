"""Canaries: before a judge scores, it answers known questions about images that are drawn here.

They compare answers with each other rather than with a threshold wherever a judge gives numbers: a sound judge is
never refused for being unsure, and random or broken weights seldom pass all of them.
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
CONFIDENT = 0.5
"""A detection of this score on a blank image is a hallucination."""

TRUE, FALSE = "a red circle", "a green car"
MATCHES = (
    ("a puppy", ("car", "dog", "tree"), 1),
    ("crimson", ("green", "blue", "red"), 2),
    ("nope", ("yes", "no"), 1),
)
"""Answer, choices, and the index of the right one."""


@dataclass(frozen=True)
class CanaryResult:
    """The outcome of one canary."""

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
    """Ask a judge the known questions of every method that it has, and return the outcomes.

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


def failed_canaries(judge: Any) -> list[str]:
    """Return the canaries that a judge fails: its own where it has a method `canaries`, else those of :func:`check`.

    A judge of another kind of images (shapes) knows its own.
    """
    own = getattr(judge, "canaries", None)
    if callable(own):
        return [str(text) for text in own()]
    return [str(result) for result in check(judge) if not result.passed]


def _p_yes(judge: Any) -> Iterator[CanaryResult]:
    on_circle, on_blank = judge.p_yes([circle(), blank()], [[f"{TRUE}?", f"{FALSE}?"], [f"{TRUE}?"]])
    yield from _yes_canaries("p_yes", on_circle, on_blank)


def _yes_no(judge: Any) -> Iterator[CanaryResult]:
    pairs = judge.yes_no([circle(), blank()], [[f"{TRUE}?", f"{FALSE}?"], [f"{TRUE}?"]])
    on_circle, on_blank = (np.subtract(rows[:, 0], rows[:, 1]) for rows in map(np.asarray, pairs))
    yield from _yes_canaries("p(yes) - p(no)", on_circle, on_blank)


def _yes_canaries(measure: str, on_circle: Any, on_blank: Any) -> Iterator[CanaryResult]:
    yield _larger(
        "true over false", on_circle[0], on_circle[1], f"{measure} of {TRUE!r} and of {FALSE!r} on a red circle"
    )
    yield _larger(
        "image over blank", on_circle[0], on_blank[0], f"{measure} of {TRUE!r} on it and on a blank image"
    )


def _answer(judge: Any) -> Iterator[CanaryResult]:
    colour = Question("what color is the circle?", ("red", "green", "blue", "yellow"))
    wrong = Question("is the circle green?", ("yes", "no"))
    there = Question("is there a circle?", ("yes", "no"))
    on_circle, on_blank = judge.answer([circle(), blank()], [[colour, wrong], [there]])
    for name, question, answer, right in (
        ("true", colour, on_circle[0], "red"), ("false", wrong, on_circle[1], "no"),
        ("blank", there, on_blank[0], "no"),
    ):
        image = "a blank image" if name == "blank" else "a red circle"
        passed = right in answer.lower().split()
        asked = f"{question.text!r} about {image}"
        yield CanaryResult(name, passed, f"{asked}: {answer[:40]!r}, right is {right!r}")


def _similarity(judge: Any) -> Iterator[CanaryResult]:
    yield from _text_canaries("cosine", judge.similarity)


def _rate(judge: Any) -> Iterator[CanaryResult]:
    yield from _text_canaries("rating", judge.rate)


def _text_canaries(measure: str, method: Callable[[list[Image], list[str]], Any]) -> Iterator[CanaryResult]:
    image = circle()
    right, wrong, on_blank = method([image, image, blank()], [TRUE, FALSE, TRUE])
    yield _larger("right over wrong text", right, wrong, f"{measure} of a red circle with {TRUE!r}, {FALSE!r}")
    yield _larger("image over blank", right, on_blank, f"{measure} of {TRUE!r} with it and with a blank image")


def _compare(judge: Any) -> Iterator[CanaryResult]:
    forth, back = judge.compare([circle(), blank()], [blank(), circle()], [TRUE, TRUE])
    yield _larger("image over blank", forth, back, f"preference for a red circle over a blank image by {TRUE!r}")


def _detect(judge: Any) -> Iterator[CanaryResult]:
    (detections,) = judge.detect([blank()])
    scores, boxes = np.asarray(detections.scores), np.asarray(detections.boxes)
    finite = bool(np.isfinite(scores).all() and np.isfinite(boxes).all())
    yield CanaryResult("finite", finite, f"{len(scores)} scores and boxes on a blank image")
    best = float(scores.max()) if len(scores) else 0.0
    label = detections.labels[int(scores.argmax())] if len(scores) else "nothing"
    yield CanaryResult("blank", finite and best < CONFIDENT, f"best on a blank image: {label} with {best:.3f}")


def _depth(judge: Any) -> Iterator[CanaryResult]:
    (depth,) = judge.depth([circle()])
    shaped = depth.shape == (SIDE, SIDE) and depth.dtype == np.uint8
    yield CanaryResult("shape", shaped, f"{depth.dtype} {depth.shape} for an image of {SIDE} x {SIDE}")
    low, high = int(depth.min()), int(depth.max())
    yield CanaryResult("not flat", high > low, f"from {low} to {high}")


def _match(judge: Any) -> Iterator[CanaryResult]:
    indices = judge.match([answer for answer, _, _ in MATCHES], [choices for _, choices, _ in MATCHES])
    for (answer, choices, right), index in zip(MATCHES, indices, strict=True):
        detail = f"{answer!r} is nearest to {choices[index]!r}, right is {choices[right]!r}"
        yield CanaryResult(f"match {answer!r}", index == right, detail)


def _larger(name: str, more: float, less: float, what: str) -> CanaryResult:
    # NaN compares false, so that it fails.
    return CanaryResult(name, bool(more > less), f"{what}: {more:.4f} and {less:.4f}")


_CANARIES: dict[str, Callable[[Any], Iterator[CanaryResult]]] = {
    "p_yes": _p_yes, "yes_no": _yes_no, "answer": _answer, "similarity": _similarity, "rate": _rate,
    "compare": _compare, "detect": _detect, "depth": _depth, "match": _match,
}
