"""What TIFA asks, what it scores, and that order and missing judges never bend a number."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from silmm_benchmarks.benchmark_options import OfficialOptions
from silmm_benchmarks.tifa.benchmark import Tifa
from silmm_benchmarks.tifa.question_filter import parse_reply
from silmm_benchmarks.tifa.questions import TYPES
from silmm_benchmarks.tifa.rules import official_result

from silmm.contracts.benchmarks import Item, JudgedImage, Mode
from silmm.errors import DataError

TIFA = Tifa(OfficialOptions(custom=True))


def _item(key: str, rows: list[tuple[str, str]]) -> Item:
    """Make a caption from (right answer, type) rows."""
    return Item(key, "caption", "coco" if key.startswith("coco_") else "free-form", details={"questions": [
        {
            "id": key, "caption": "caption", "question": f"q{place}", "choices": ["yes", "no", "dark red"],
            "answer": answer, "element_type": kind, "element": "e",
        }
        for place, (answer, kind) in enumerate(rows)
    ]})  # fmt: skip


def _score(item: Item, **answers: list[str]) -> dict[str, Any]:
    return dict(TIFA.score(JudgedImage(item, 0, answers), Mode.OFFICIAL))


def test_all_questions_are_asked_with_their_choices() -> None:
    """The first request holds every question, in order, with the choices that BLIP-2 is shown."""
    (request,) = TIFA.requests(_item("a", [("yes", "object"), ("dark red", "color")]))
    assert (request.judge, request.queries[1]) == (
        "vqa", {"text": "q1", "choices": ["yes", "no", "dark red"]},
    )  # fmt: skip


def test_only_answers_that_are_no_choice_are_matched() -> None:
    """The follow-up asks the matcher for those alone, and its choices are put in their places."""
    item = _item("a", [("yes", "object"), ("dark red", "color"), ("no", "object")])
    answers = ["yes", "red", "No"]
    (request,) = TIFA.follow_up(item, {"vqa": answers})
    assert [query["answer"] for query in request.queries] == ["red", "No"]
    scored = _score(item, vqa=answers, matcher=["dark red", "yes"])
    overall, *_ = TIFA.columns([item], [(item, 0, scored)], Mode.OFFICIAL)
    assert overall.note == "2 answers were none of the choices and matched to one"
    assert scored["chosen"] == ["yes", "dark red", "yes"]
    assert scored["score"] == pytest.approx(2 / 3)
    assert scored["by_type"] == {"object": [1, 2], "color": [1, 1]}
    assert TIFA.follow_up(item, {"vqa": ["yes", "no", "yes"]}) == ()
    assert TIFA.follow_up(item, {}) == ()


def test_a_missing_judge_gives_no_number() -> None:
    """Without answers, or without the matcher where it is needed, nothing is scored and columns say why."""
    item = _item("a", [("yes", "object")])
    assert _score(item) == {}
    assert _score(item, vqa=["perhaps"]) == {}
    assert _score(item, vqa=["yes"])["score"] == 1
    columns = TIFA.columns([item], [(item, 0, {})], Mode.OFFICIAL)
    assert all(column.value is None for column in columns)
    assert "mplug" in columns[0].note and "mpnet-match" in columns[0].note


def test_answers_of_other_questions_are_refused() -> None:
    """Stored answers that do not fit the questions are an error, never a shifted score."""
    item = _item("a", [("yes", "object"), ("no", "object")])
    too_few, no_choice = {"vqa": ["yes"]}, {"vqa": ["red", "no"], "matcher": ["blue"]}
    for answers in (too_few, no_choice, {"vqa": ["red", "blue"], "matcher": ["no"]}):
        with pytest.raises(DataError, match="judge that image again"):
            _score(item, **answers)


def test_columns_are_overall_types_and_subsets() -> None:
    """Overall and the twelve types come first; the subsets are details; n and intervals stand beside."""
    items = [
        _item("coco_1", [("yes", "object"), ("no", "color")]), _item("drawbench_1", [("yes", "object")] * 2),
    ]  # fmt: skip
    scores = [(item, 0, _score(item, vqa=["yes", "yes"])) for item in items]
    columns = TIFA.columns(items, scores, Mode.OFFICIAL)
    assert [column.name for column in columns if not column.detail] == ["Overall", *TYPES]
    named = {column.name: column for column in columns}
    assert (named["Overall"].value, named["Overall"].prompts) == (0.75, 2)
    assert (named["Overall"].low, named["Overall"].high) == (0.5, 1.0)
    assert (named["object"].value, named["object"].note) == (1.0, "3 questions")
    assert named["color"].note == "1 question"
    assert (named["color"].value, named["color"].low) == (0.0, None)
    assert (named["shape"].value, named["shape"].note) == (None, "no question of this type")
    assert (named["coco"].value, named["free-form: object"].value) == (0.5, 1.0)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.booleans(), st.sampled_from(TYPES)), min_size=1, max_size=6),
        min_size=2, max_size=6,
    ),
    st.randoms(use_true_random=False),
)  # fmt: skip
def test_order_changes_no_number_and_the_official_result_agrees(
    captions: list[list[tuple[bool, str]]], shuffler: random.Random
) -> None:
    """Shuffled captions give the same columns, and these are the official script's numbers."""
    items = [_item(f"c{n}", [("yes", kind) for _, kind in rows]) for n, rows in enumerate(captions)]
    answers = [["yes" if right else "no" for right, _ in rows] for rows in captions]
    scores = [(item, 0, _score(item, vqa=given)) for item, given in zip(items, answers, strict=True)]
    values = {column.name: column.value for column in TIFA.columns(items, scores, Mode.OFFICIAL)}
    shuffler.shuffle(scores)
    again = {column.name: column.value for column in TIFA.columns(items, scores, Mode.FIXED)}
    assert again == pytest.approx(values, nan_ok=True)
    official = official_result(
        (question, answer, answer)
        for item, given in zip(items, answers, strict=True)
        for question, answer in zip(item.details["questions"], given, strict=True)
    )
    assert values["Overall"] == pytest.approx(official["tifa_average"])
    for kind, value in official["accuracy_by_type"].items():
        assert values[kind] == pytest.approx(value)


REPLY = """Entities: dog, cats
Activities: running
Colors: red
Counting: two
Other attributes:
Questions and answers are below:
About dog (animal):
Q: is this a dog?
Choices: yes, no
A: yes
Q: what animal is running?
Choices: dog, cat, a big bird, fish
A: dog
About red (color):
Q: what color?
A: red
About speed (velocity):
Q: is it fast?
Choices: yes, no
A: yes
About red (color):
Q: is the dog red?
Choices: yes, no
A: yes"""


def test_replies_are_parsed_from_line_seven_on() -> None:
    """Types are merged, unknown ones and questions without choices dropped, the rest kept in order."""
    questions = parse_reply(REPLY)
    assert [row["question"] for row in questions] == [
        "is this a dog?", "what animal is running?", "is the dog red?",
    ]  # fmt: skip
    assert questions[1] == {
        "question": "what animal is running?", "choices": ["dog", "cat", "a big bird", "fish"],
        "answer": "dog", "element": "dog", "element_type": "animal/human",
    }  # fmt: skip
    assert parse_reply("About x (object):\nQ: q?\nChoices: a\nA: a") == []
    assert parse_reply("") == []
