"""Canaries let a judge that sees pass and stop one that does not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image
from silmm_benchmarks.judges.answer_matching import MpnetMatcher
from silmm_benchmarks.judges.dpt_depth import DptDepth
from silmm_benchmarks.judges.options import BlipVqaOptions, JudgeOptions, MatcherOptions
from silmm_benchmarks.judges.vqa.blip_vqa import BlipVqa

from silmm.bench.judging import canaries
from silmm.contracts.judges import BadText, Detections, Question

RED = np.array(canaries.RED)


class Seeing:
    """Reads what the canaries sample by counting red pixels: a judge that is right about them."""

    identity: dict[str, str] = {}  # noqa: RUF012

    def _red(self, image: Image.Image) -> float:
        return float((np.asarray(image) == RED).all(-1).mean())

    def p_yes(self, images: Sequence[Image.Image], questions: Sequence[Sequence[str]]) -> list[np.ndarray]:
        return [np.array([self._red(image) if "red circle" in text else 0.01 for text in group])
                for image, group in zip(images, questions, strict=True)]

    def answer(
        self, images: Sequence[Image.Image], questions: Sequence[Sequence[Question]]
    ) -> list[list[str]]:
        return [[self._word(self._red(image) > 0.1, question.text) for question in group]
                for image, group in zip(images, questions, strict=True)]

    def _word(self, there: bool, text: str) -> str:
        if text.startswith("what"):
            return "Red" if there else "none"
        return "yes" if there and "green" not in text else "no"

    def similarity(self, images: Sequence[Image.Image], texts: Sequence[str]) -> np.ndarray:
        pairs = zip(images, texts, strict=True)
        return np.array([self._red(image) * ("red" in text) for image, text in pairs])

    def detect(self, images: Sequence[Image.Image]) -> list[Detections]:
        none = np.zeros(0, np.float32)
        return [Detections((), none, none.reshape(0, 4), (479, 479)) for _ in images]

    def depth(self, images: Sequence[Image.Image]) -> list[np.ndarray]:
        return [((np.asarray(image) == RED).all(-1) * 255).astype(np.uint8) for image in images]

    def match(self, answers: Sequence[str], choices: Sequence[Sequence[str]]) -> list[int]:
        known = {"a puppy": "dog", "crimson": "red", "nope": "no"}
        return [list(group).index(known[answer]) for answer, group in zip(answers, choices, strict=True)]


def test_a_judge_that_sees_passes_all():
    """Every ability is asked, and right answers pass: true, false and blank, right and wrong text."""
    results = canaries.check(Seeing())
    assert len(results) == 14
    assert [str(one) for one in results if not one.passed] == []


@pytest.mark.parametrize("method", ["p_yes", "answer", "similarity", "depth", "match"])
def test_a_blind_judge_fails(method, monkeypatch):
    """The same answer whatever is shown and asked fails at least one canary of each ability."""
    constant = {
        "p_yes": lambda self, images, questions: [np.full(len(group), 0.9) for group in questions],
        "answer": lambda self, images, questions: [["yes"] * len(group) for group in questions],
        "similarity": lambda self, images, texts: np.full(len(texts), 0.3),
        "depth": lambda self, images: [np.zeros((512, 512), np.uint8) for _ in images],
        "match": lambda self, answers, choices: [0] * len(answers),
    }
    monkeypatch.setattr(Seeing, method, constant[method])
    failed = [one for one in canaries.check(Seeing()) if not one.passed]
    assert failed
    assert all(one.detail for one in failed)


def test_a_detector_that_sees_things_fails(monkeypatch):
    """A sure detection on a blank image, or a score that is not finite, is told with label and score."""
    def found(score: float) -> list[Detections]:
        box = np.array([[0, 0, 9, 9]], np.float32)
        return [Detections(("dog",), np.array([score], np.float32), box, (479, 479))]

    for score, passed in ((0.3, True), (0.9, False), (float("nan"), False)):
        monkeypatch.setattr(Seeing, "detect", lambda self, images, score=score: found(score))
        results = canaries.check(Seeing())
        assert all(one.passed for one in results) is passed


def test_answers_that_are_not_numbers_fail(monkeypatch):
    """NaN is larger than nothing."""
    monkeypatch.setattr(Seeing, "similarity", lambda self, images, texts: np.full(len(texts), np.nan))
    assert sum(not one.passed for one in canaries.check(Seeing())) == 2


def test_an_error_of_the_judge_is_a_failed_canary(monkeypatch):
    """A judge that cannot read the canary's text could not have scored; its message is kept."""
    def refuse(self: Seeing, images: object, texts: object) -> None:
        raise BadText("cannot read it")

    monkeypatch.setattr(Seeing, "similarity", refuse)
    (failed,) = [one for one in canaries.check(Seeing()) if not one.passed]
    assert str(failed) == "similarity: cannot read it"


def test_what_is_sampled_is_what_is_asked_about():
    """The image is a red disc on white of about a fifth of its area; the blank one is all white."""
    disc, empty = (np.asarray(image) for image in (canaries.circle(), canaries.blank()))
    assert disc.shape == empty.shape == (512, 512, 3)
    assert (disc == RED).all(-1).mean() == pytest.approx(np.pi / 16, abs=0.01)
    assert (empty == 255).all()


def test_random_weights_are_asked_the_same(tiny):
    """The real judges answer the canaries with finite numbers; random ones are found out by some."""
    judges = [
        BlipVqa.load(BlipVqaOptions(weights=str(tiny("blip_original")))),
        DptDepth.load(JudgeOptions(weights=str(tiny("dpt")))),
        MpnetMatcher.load(MatcherOptions(weights=str(tiny("mpnet")))),
    ]
    results = [one for judge in judges for one in canaries.check(judge)]
    assert len(results) == 7
    assert not all(one.passed for one in results)
    assert not [one for one in results if "nan" in one.detail]
