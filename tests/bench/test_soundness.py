"""Answers that are not what a judge's contract promises never reach the rules."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from silmm.bench.judging.roles import ask
from silmm.contracts.judges import Detections
from silmm.errors import DataError


def found(labels: tuple[str, ...] = ("cat",), scores: Any = (0.5,), boxes: Any = ((0, 0, 1, 1),),
          frame: tuple[int, int] = (9, 9)) -> Detections:
    return Detections(labels, np.array(scores, np.float32), np.array(boxes, np.float32), frame)


IMAGE = Image.new("RGB", (4, 3))
CHOICES = {"answer": "a cat", "choices": ["cat", "dog"]}


@pytest.mark.parametrize(("role", "method", "query", "answer", "told"), [
    ("vqa", "answer", "q?", [[None]], "None in place of a text"),
    ("vqa", "answer", "q?", [[1]], "1 in place of a text"),
    ("vqa", "answer", "q?", [["yes", "no"]], "2 answers to 1 questions"),
    ("clip", "similarity", "a cat", np.array([31.0]), "31, which is not from -1 to 1"),
    ("clip", "similarity", "a cat", np.array([]), "0 answers to 1 questions"),
    ("matcher", "match", CHOICES, [-1], "-1 in place of one of 2 choices"),
    ("matcher", "match", CHOICES, [2], "2 in place of one of 2 choices"),
    ("matcher", "match", CHOICES, [0.0], "in place of one of 2 choices"),
    ("matcher", "match", CHOICES, [0, 1], "2 answers to 1 questions"),
    ("depth", "depth", None, [np.zeros((4, 3), np.uint8)], "a map of (4, 3) for an image of 4x3 pixels"),
    ("depth", "depth", None, [np.zeros((3, 4), np.uint8)] * 2, "2 answers to 1 questions"),
    ("detector", "detect", None, [found(labels=("cat", "dog"))], "2 labels, scores"),
    ("detector", "detect", None, [found(boxes=((0, 0, 1),))], "boxes"),
    ("detector", "detect", None, [found(scores=(1.5,))], "1.5, which is not from 0 to 1"),
    ("detector", "detect", None, [found(frame=(0, 9))], "a frame of"),
    ("detector", "detect", None, ["cat"], "str in place of Detections"),
])
def test_a_faulty_answer_is_told(role: str, method: str, query: Any, answer: Any, told: str) -> None:
    """Each is an error that names the role and what was given."""
    judge: Any = SimpleNamespace(**{method: lambda *_: answer})
    with pytest.raises(DataError, match=f"the judge for {role} gave") as caught:
        ask(judge, role, [IMAGE], [[query]])
    assert told in str(caught.value)


@pytest.mark.parametrize(("role", "method", "query", "answer"), [
    ("vqa", "answer", "q?", [["yes"]]), ("clip", "similarity", "a cat", np.array([-0.1])),
    ("clip", "similarity", "a cat", np.array([np.nan])), ("matcher", "match", CHOICES, [np.int64(1)]),
    ("detector", "detect", None, [found()]),
    ("detector", "detect", None, [found((), (), np.zeros((0, 4)))]),
    ("depth", "depth", None, [np.zeros((3, 4), np.uint8)]),
])
def test_sound_answers_pass(role: str, method: str, query: Any, answer: Any) -> None:
    """What the contract allows passes, NaN too: it becomes a failure of its image when it is stored."""
    judge: Any = SimpleNamespace(**{method: lambda *_: answer})
    assert len(ask(judge, role, [IMAGE], [[query]])[0]) == 1
