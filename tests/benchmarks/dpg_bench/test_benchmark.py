"""What DPG-Bench asks, what it scores, and that order, modes and missing judges behave."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from silmm_benchmarks.benchmark_options import DpgBenchOptions
from silmm_benchmarks.dpg_bench.benchmark import L1, DpgBench
from silmm_benchmarks.dpg_bench.official_outputs import detail_lines, image_line, summary
from silmm_benchmarks.dpg_bench.rules import masked, score_crop

from silmm.contracts.benchmarks import Item, JudgedImage, Mode
from silmm.errors import DataError

BENCH = DpgBench(DpgBenchOptions(custom=True, images=2))
KINDS = ("entity - whole", "entity - part", "attribute - color", "relation - spatial", "global -")


Question = dict[str, Any]


def _question(
    number: int, parents: list[int], kind: str = "entity - whole", *, first: bool = False
) -> Question:
    return {"id": number, "parents": parents, "category": kind, "text": f"q{number}?", "first_row": first}


def _rows(item: Item, crops: list[list[str]], mode: Mode) -> list[tuple[Item, int, dict[str, Any]]]:
    return [
        (item, index, dict(BENCH.score(JudgedImage(item, index, {"vqa": answers}), mode)))
        for index, answers in enumerate(crops)
    ]


@st.composite
def _questions(draw: st.DrawFn) -> list[Question]:
    """Sample questions whose parents are any of the item's, in any order, themselves included."""
    count = draw(st.integers(1, 6))
    numbers = draw(st.permutations(range(1, count + 1)))
    parents = st.lists(st.integers(1, count), max_size=3)
    return [_question(number, draw(parents), draw(st.sampled_from(KINDS))) for number in numbers]


@pytest.mark.parametrize(
    ("answers", "score"),
    [("no yes yes yes", 0), ("yes no yes yes", 0.25), ("yes yes no yes", 0.5), ("yes yes yes yes", 1)],
)
def test_zeros_run_down_a_chain(answers: str, score: float) -> None:
    """In a chain of four everything after the first no is lost, grandchildren too."""
    chain = [_question(number, [number - 1] if number > 1 else []) for number in range(1, 5)]
    assert score_crop(chain, answers.split(), Mode.OFFICIAL).score == score


@settings(max_examples=50, deadline=None)
@given(_questions(), st.data())
def test_masking_only_takes_away_and_comes_to_rest(questions: list[Question], data: st.DataObject) -> None:
    """Masking never adds a right answer, and after as many passes as questions nothing changes any more."""
    right = data.draw(st.lists(st.integers(0, 1), min_size=len(questions), max_size=len(questions)))
    once = masked(questions, right)
    assert all(after <= before for after, before in zip(once, right, strict=True))
    state = once
    for _ in questions:
        state = masked(questions, state)
    assert masked(questions, state) == state


@settings(max_examples=50, deadline=None)
@given(_questions(), st.data())
def test_masking_twice_is_masking_once(questions: list[Question], data: st.DataObject) -> None:
    """With parents before their children one pass is enough: a second one changes nothing."""
    ordered = [
        question | {"id": place, "parents": [parent for parent in question["parents"] if parent < place]}
        for place, question in enumerate(questions, start=1)
    ]
    right = data.draw(st.lists(st.integers(0, 1), min_size=len(ordered), max_size=len(ordered)))
    once = masked(ordered, right)
    assert masked(ordered, once) == once


@settings(max_examples=10, deadline=None)
@given(st.lists(_questions(), min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_order_of_prompts_changes_no_number(
    prompts: list[list[Question]], shuffler: random.Random
) -> None:
    """Shuffled prompts and images give the same columns in both modes."""
    items = [Item(f"i{n}", "p", "", 2, {"questions": questions}) for n, questions in enumerate(prompts)]
    answers = [
        [shuffler.choices(["yes", "no", "2"], k=len(questions)) for _ in range(2)] for questions in prompts
    ]
    for mode in Mode:
        rows = [row for item, crops in zip(items, answers, strict=True) for row in _rows(item, crops, mode)]
        values = {column.name: column.value for column in BENCH.columns(items, rows, mode)}
        shuffler.shuffle(rows)
        again = {column.name: column.value for column in BENCH.columns(items, rows, mode)}
        assert again == pytest.approx(values)


@settings(max_examples=25, deadline=None)
@given(_questions(), _questions(), st.randoms(use_true_random=False))
def test_modes_differ_in_the_first_prompt_alone(
    first: list[Question], second: list[Question], chooser: random.Random
) -> None:
    """An image's score depends on the mode only where the file's first row is among its questions."""
    first = [question | {"first_row": place == 0} for place, question in enumerate(first)]
    one_answers, two_answers = (chooser.choices(["yes", "no"], k=len(rows)) for rows in (first, second))
    one, two = (Item(key, "p", "", 1, {"questions": rows}) for key, rows in (("a", first), ("b", second)))
    official = [BENCH.score(JudgedImage(two, 0, {"vqa": two_answers}), mode) for mode in Mode]
    assert official[0] == official[1]
    fixed = BENCH.score(JudgedImage(one, 0, {"vqa": one_answers}), Mode.FIXED)
    assert "failed" not in fixed
    hurt = BENCH.score(JudgedImage(one, 0, {"vqa": one_answers}), Mode.OFFICIAL)
    assert "failed" in hurt or sum(n for _, n in hurt["by_category"].values()) == len(first) - 1


def test_official_categories_are_of_the_last_image_before_masking() -> None:
    """Two images: officially the second one's raw answers count, repaired those of both."""
    item = Item("a", "p", "", 2, {"questions": [_question(1, []), _question(2, [1], "attribute - color")]})
    crops = [["yes", "yes"], ["no", "yes"]]
    values = {}
    for mode in Mode:
        columns = BENCH.columns([item], _rows(item, crops, mode), mode)
        values[mode] = {column.name: (column.value, column.images) for column in columns}
        assert values[mode]["Overall"] == (0.5, 2)
    assert (values[Mode.OFFICIAL]["Entity"], values[Mode.OFFICIAL]["Attribute"]) == ((0.0, 1), (1.0, 1))
    assert (values[Mode.FIXED]["Entity"], values[Mode.FIXED]["Attribute"]) == ((0.5, 2), (1.0, 2))


def test_columns_of_the_paper_come_first() -> None:
    """Overall and the five L1 columns, then others that a custom table has, then L2 as details."""
    kinds = ["entity - whole", "action - run", "global -"]
    item = Item("a", "p", "", 1, {"questions": [_question(n, [], kind) for n, kind in enumerate(kinds, 1)]})
    columns = BENCH.columns([item], _rows(item, [["yes", "no", "perhaps"]], Mode.FIXED), Mode.FIXED)
    assert [column.name for column in columns if not column.detail] == [
        "Overall", *(name.capitalize() for name in L1), "Action",
    ]  # fmt: skip
    assert [column.name for column in columns if column.detail] == sorted(kinds)
    assert columns[0].note == "1 answers neither yes nor no"
    assert (columns[0].low, columns[0].high) == (None, None)
    assert next(column for column in columns if column.name == "Other").note == "no question of this category"


def test_a_lost_first_row_is_told() -> None:
    """Where the official script drops the prompt, its score says which question is lost."""
    item = Item("a", "p", "", 1, {"questions": [_question(1, [], first=True), _question(2, [1])]})
    rows = _rows(item, [["yes", "yes"]], Mode.OFFICIAL)
    assert rows[0][2] == {"failed": "question 2 depends on 1, which is missing"}
    columns = BENCH.columns([item], rows, Mode.OFFICIAL)
    assert (columns[0].value, "question 2 depends on 1" in columns[0].note) == (None, True)
    alone = Item("a", "p", "", 1, {"questions": [_question(1, [], first=True)]})
    assert _rows(alone, [["yes"]], Mode.OFFICIAL)[0][2] == {"failed": "no question is left"}


def test_missing_answers_give_no_number() -> None:
    """Without the judge columns say so; a prompt with a part of its images scored is left out, and told."""
    item = Item("a", "p", "", 2, {"questions": [_question(1, [])]})
    assert BENCH.score(JudgedImage(item, 0, {}), Mode.OFFICIAL) == {}
    assert BENCH.columns([item], [(item, 0, {})], Mode.OFFICIAL)[0].note == "judge mplug (vqa) needed"
    other = Item("b", "p", "", 2, {"questions": [_question(1, [])]})
    rows = _rows(item, [["yes"]], Mode.FIXED) + _rows(other, [["yes"], ["no"]], Mode.FIXED)
    overall = BENCH.columns([item, other], rows, Mode.FIXED)[0]
    assert (overall.value, overall.prompts) == (0.5, 1)
    assert "1 prompts dropped" in overall.note
    with pytest.raises(DataError, match="2 stored answers to the 1 questions"):
        _rows(item, [["yes", "no"]], Mode.FIXED)


def test_the_text_reports_have_the_official_lines() -> None:
    """Results, details and summary have the lines that readers of the official reports look for."""
    item = Item("a", "p", "", 2, {"questions": [_question(1, []), _question(2, [1], "global -")]})
    crops = [["yes", "yes"], ["yes", "no"]]
    assert image_line(Path("d/a.png"), [1.0, 0.5]) == "d/a.png, 1.0, 0.5, 0.75"
    assert detail_lines(Path("d/a.png"), 1, ["q1?", "q2?"], crops[1]) == [
        "d/a.png, 1, q1?, yes", "d/a.png, 1, q2?, no",
    ]  # fmt: skip
    columns = BENCH.columns([item], _rows(item, crops, Mode.OFFICIAL), Mode.OFFICIAL)
    assert summary(Path("out/model"), Path("r.txt"), columns).splitlines() == [
        "Model: model", "L1 category scores:", "\tentity: 100.0", "\tglobal: 0.0", "L2 category scores:",
        "\tentity - whole: 100.0", "\tglobal -: 0.0", "Image path: out/model", "Save results to: r.txt",
        "DPG-Bench score: 75.0",
    ]  # fmt: skip


def test_every_question_is_asked_once_and_seeds_differ() -> None:
    """All questions are asked, the first row's too, and each image has a seed of its own."""
    item = Item("a", "p", "", 4, {"questions": [_question(1, [], first=True), _question(2, [])]})
    (request,) = BENCH.requests(item)
    assert (request.judge, request.queries) == ("vqa", ("q1?", "q2?"))
    assert BENCH.follow_up(item, {"vqa": ["yes", "no"]}) == ()
    assert len({BENCH.seed(item, index) for index in range(4)}) == 4
