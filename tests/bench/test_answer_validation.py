"""Answers that are not of the form that a judge's contract states never reach the rules."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from silmm.bench.judging.answer_codec import Failure, from_stored, to_stored
from silmm.bench.judging.answer_store import AnswerStore
from silmm.bench.judging.roles import ask, check_ability
from silmm.contracts.judges import Detections
from silmm.errors import DataError, UsageError


def detections(labels: tuple[str, ...] = ("cat",), scores: Any = (0.5,), boxes: Any = ((0, 0, 1, 1),),
          frame: tuple[int, int] = (9, 9)) -> Detections:
    return Detections(labels, np.array(scores, np.float32), np.array(boxes, np.float32), frame)


IMAGE = Image.new("RGB", (4, 3))
CHOICES = {"answer": "a cat", "choices": ["cat", "dog"]}


@pytest.mark.parametrize(("role", "method", "query", "answer", "message"), [
    ("vqa", "answer", "q?", [[None]], "None in place of a text"),
    ("vqa", "answer", "q?", [[1]], "1 in place of a text"),
    ("vqa", "answer", "q?", [["yes", "no"]], "2 answers to 1 questions"),
    ("clip", "similarity", "a cat", np.array([31.0]), "31, which is not from -1 to 1"),
    ("clip", "similarity", "a cat", np.array([]), "0 answers to 1 questions"),
    ("probabilities", "yes_no", "a cat?", [[[0.9, 1.5]]], "1.5, which is not from 0 to 1"),
    ("probabilities", "yes_no", "a cat?", [[0.9]], "an array of shape () in place of p(yes) and p(no)"),
    ("rating", "rate", "a cat", ["good"], "'good' in place of a number"),
    ("yes-no", "yes_no", "a cat?", [[[0.9, -0.9]]], "which is not from 0 to 1"),
    ("matcher", "match", CHOICES, [-1], "-1 in place of one of 2 choices"),
    ("matcher", "match", CHOICES, [2], "2 in place of one of 2 choices"),
    ("matcher", "match", CHOICES, [0.0], "in place of one of 2 choices"),
    ("matcher", "match", CHOICES, [0, 1], "2 answers to 1 questions"),
    ("depth", "depth", None, [np.zeros((4, 3), np.uint8)], "a map of (4, 3) for an image of 4x3 pixels"),
    ("depth", "depth", None, [np.zeros((3, 4), np.uint8)] * 2, "2 answers to 1 questions"),
    ("detector", "detect", None, [detections(labels=("cat", "dog"))], "2 labels, scores"),
    ("detector", "detect", None, [detections(boxes=((0, 0, 1),))], "boxes"),
    ("detector", "detect", None, [detections(scores=(1.5,))], "1.5, which is not from 0 to 1"),
    ("detector", "detect", None, [detections(frame=(0, 9))], "a frame of"),
    ("detector", "detect", None, ["cat"], "str in place of Detections"),
])
def test_a_faulty_answer_is_reported(role: str, method: str, query: Any, answer: Any, message: str) -> None:
    """Each is an error that names the role and the answer."""
    judge: Any = SimpleNamespace(**{method: lambda *_: answer})
    with pytest.raises(DataError, match=f"the judge for {role} gave") as caught:
        ask(judge, role, [IMAGE], [[query]])
    assert message in str(caught.value)


@pytest.mark.parametrize(("role", "method", "query", "answer"), [
    ("vqa", "answer", "q?", [["yes"]]), ("clip", "similarity", "a cat", np.array([-0.1])),
    ("clip", "similarity", "a cat", np.array([np.nan])), ("rating", "rate", "a cat", np.array([-21.5])),
    ("probabilities", "yes_no", "a cat?", [np.array([[0.2, 0.1]])]), ("matcher", "match", CHOICES, [np.int64(1)]),
    ("detector", "detect", None, [detections()]),
    ("detector", "detect", None, [detections((), (), np.zeros((0, 4)))]),
    ("depth", "depth", None, [np.zeros((3, 4), np.uint8)]),
])
def test_sound_answers_pass(role: str, method: str, query: Any, answer: Any) -> None:
    """What the contract allows passes, NaN too: it becomes a failure of its image when it is stored."""
    judge: Any = SimpleNamespace(**{method: lambda *_: answer})
    assert len(ask(judge, role, [IMAGE], [[query]])[0]) == 1


def test_p_yes_follows_from_both_probabilities() -> None:
    """A judge with yes_no alone holds the role yes-no: its share of yes; 0 / 0 is NaN, never a number."""
    judge: Any = SimpleNamespace(yes_no=lambda *_: [np.array([[0.3, 0.1], [0.0, 0.0]])])
    check_ability(judge, "yes-no", "any")
    ((share, undefined),) = ask(judge, "yes-no", [IMAGE], [["a cat?", "a dog?"]])
    assert share == pytest.approx(0.75)
    assert np.isnan(undefined)
    with pytest.raises(UsageError, match="cannot be vqa: it can be yes-no, probabilities"):
        check_ability(judge, "vqa", "any")


@pytest.mark.parametrize(("answer", "stored"), [
    ([0.25, 0.5], [0.25, 0.5]), ([0.25, float("nan")], {"failed": "not finite: [0.25, nan]"}),
])
def test_both_probabilities_are_stored_as_they_are(tmp_path: Path, answer: list[float], stored: Any) -> None:
    """p(yes) and p(no) come back bit for bit; a pair that is not finite is a failure."""
    store = AnswerStore(tmp_path)
    assert to_stored(answer, store) == stored
    read = from_stored(json.loads(json.dumps(stored)), store)
    assert read == (answer if isinstance(stored, list) else Failure(stored["failed"]))
