"""From judges' answers to the columns of the paper."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from silmm_benchmarks.benchmark_options import OfficialOptions
from silmm_benchmarks.t2i_compbench.benchmark import T2ICompBench
from silmm_benchmarks.t2i_compbench.columns import GROUPS, TITLES
from silmm_benchmarks.t2i_compbench.rules.image_scores import CLIP, DEPTH, DETECTOR, DETECTOR_2D, YES_NO

from silmm.contracts.benchmarks import Column, Item, JudgedImage, Mode
from silmm.contracts.judges import Detections

PAIR = Detections(
    labels=("dog", "cat"),
    scores=np.array([1.0, 0.8], dtype=np.float32),
    boxes=np.array([[0, 20, 20, 40], [10, 20, 30, 40]], dtype=np.float32),
    frame=(60, 60),
)
DEPTH_MAP = np.tile(np.linspace(255, 0, 60).astype(np.uint8), (60, 1))
"""Nearer on the left, where the dog is."""


def answers(item: Item, benchmark: T2ICompBench, **others: Sequence[Any]) -> dict[str, Sequence[Any]]:
    """Answer each request of an item: half yes, a similarity of 0.3, a dog on the left of a cat."""
    said: Mapping[str, Any] = {YES_NO: 0.5, CLIP: 0.3, DETECTOR: PAIR, DETECTOR_2D: PAIR, DEPTH: DEPTH_MAP}
    requests = benchmark.requests(item)
    given = {one.judge: [said[one.judge]] * max(1, len(one.queries)) for one in requests}
    return given | {role: others[role] for role in given.keys() & others.keys()}


@pytest.fixture
def benchmark() -> T2ICompBench:
    """Give the benchmark for own prompts."""
    pytest.importorskip("spacy")
    return T2ICompBench(OfficialOptions(custom=True))


def scored(benchmark: T2ICompBench, items: Sequence[Item], mode: Mode, without: Sequence[str] = ()) -> Any:
    """Score all ten images of each item."""
    return [
        (item, index, benchmark.score(JudgedImage(item, index, {
            role: said for role, said in answers(item, benchmark).items() if role not in without
        }), mode))
        for item in items
        for index in range(item.images)
    ]


def by_name(columns: Sequence[Column]) -> dict[str, Column]:
    """Return columns by name."""
    return {column.name: column for column in columns}


def test_each_category_asks_its_judges(benchmark: T2ICompBench, data: Path) -> None:
    """Roles and queries follow the category; a complex prompt asks for its group alone."""
    asked = {
        item.id: [(request.judge, request.queries) for request in benchmark.requests(item)]
        for item in benchmark.items(data)
    }
    assert asked == {
        "color/0000": [(YES_NO, ("a red apple?", "a green book?"))],
        "color/0001": [(YES_NO, ("a blue cup?",))],
        "spatial/0000": [(DETECTOR_2D, ())],
        "3d_spatial/0000": [(DETECTOR, ()), (DEPTH, ())],
        "numeracy/0000": [(DETECTOR, ())],
        "non_spatial/0000": [(CLIP, ("A man is reading a book.",))],
        "complex/0000": [(YES_NO, ("The red dog?", "the black cat?")), (DETECTOR_2D, ())],
        "complex/0001": [
            (YES_NO, ("The old dog?", "It?")), (CLIP, ("The dog sleeps . It snows .",))
        ],
    }


def test_scores_and_columns(benchmark: T2ICompBench, data: Path) -> None:
    """Known answers give the numbers that one computes by hand, in both modes."""
    items = benchmark.items(data)
    expected = {
        "Color": (0.25 + 0.5) / 2, "2D-Spatial": 0.25 + 0.2 + 0.5 * 0.3, "Numeracy": 0.75,
        "Non-Spatial": 0.3, "Complex": ((0.25 + 0.95) / 2 + (0.25 + 0.3) / 2) / 2,
    }
    for mode, three in ((Mode.OFFICIAL, 0.45), (Mode.FIXED, 0.45 + 0.5 * (1 / 3) / 0.5)):
        columns = by_name(benchmark.columns(items, scored(benchmark, items, mode), mode))
        categories = [name for name in TITLES.values() if name not in ("Shape", "Texture")]
        assert list(columns) == [*categories, "Layout"]
        for name, value in {**expected, "3D-Spatial": three}.items():
            assert columns[name].value == pytest.approx(value, abs=1e-6), (name, mode)
        assert (columns["Color"].prompts, columns["Color"].images) == (2, 20)
        assert columns["Color"].low == pytest.approx(0.25) and columns["Color"].high == pytest.approx(0.5)
        assert columns["Numeracy"].low is None


def test_a_missing_judge_leaves_its_columns_without_a_number(benchmark: T2ICompBench, data: Path) -> None:
    """The columns that need it name it; parts that need others are still in the image's row."""
    items = benchmark.items(data)
    scores = scored(benchmark, items, Mode.OFFICIAL, without=[DETECTOR_2D, DEPTH])
    columns = by_name(benchmark.columns(items, scores, Mode.OFFICIAL))
    assert {name for name, column in columns.items() if column.value is None} == {
        "2D-Spatial", "3D-Spatial", "Complex", "Layout"
    }
    assert columns["2D-Spatial"].note == "no number without unidet-rs200 (detector-2d)"
    assert "dpt-hybrid (depth)" in columns["3D-Spatial"].note
    complex_row = next(numbers for item, _, numbers in scores if item.id == "complex/0000")
    assert complex_row == {"attribute": 0.25, "missing": DETECTOR_2D}


def test_groups_are_means_of_their_categories(data: Path) -> None:
    """Attribute and Layout average three categories each, and miss where one of them does."""
    benchmark = T2ICompBench()
    rows = {"color": 0.8, "shape": 0.5, "texture": 0.2, "spatial": 0.6, "3d_spatial": 0.3}
    items = [Item(f"{name}/{row}", f"p{row}", name, 1, {}) for name in rows for row in range(4)]
    scores = [(item, 0, {"score": rows[item.category]}) for item in items]
    columns = by_name(benchmark.columns(items, scores, Mode.OFFICIAL))
    assert columns["Attribute"].value == pytest.approx(0.5)
    assert (columns["Attribute"].low, columns["Attribute"].high) == pytest.approx((0.5, 0.5))
    assert (columns["Attribute"].prompts, columns["Attribute"].images) == (12, 12)
    assert "Layout" not in columns
    items += [Item("numeracy/0", "p", "numeracy", 1, {})]
    scores += [(items[-1], 0, {"missing": DETECTOR})]
    layout = by_name(benchmark.columns(items, scores, Mode.OFFICIAL))["Layout"]
    assert layout.value is None and layout.note == "no number without Numeracy"
    assert set(GROUPS) == {"Attribute", "Layout"}


@pytest.mark.parametrize(
    ("category", "said", "reason"),
    [
        ("color", {YES_NO: [float("nan"), 0.5]}, r"P\(yes\) that is not finite"),
        ("non_spatial", {CLIP: [float("inf")]}, "similarity that is not finite"),
        ("numeracy", {DETECTOR: [Detections(
            ("dog",), np.array([np.nan], dtype=np.float32), np.zeros((1, 4), dtype=np.float32), (9, 9)
        )]}, "score of a detection that is not finite"),
        ("spatial", {DETECTOR_2D: [Detections(
            ("dog", "cat"), np.ones(2, dtype=np.float32), np.zeros((2, 4), dtype=np.float32), (9, 9)
        )]}, "no area"),
    ],
)
def test_answers_that_are_no_numbers_fail(
    benchmark: T2ICompBench, data: Path, category: str, said: dict[str, Any], reason: str
) -> None:
    """NaN and empty boxes are told and left out of the mean; they are never a zero in it."""
    items = benchmark.items(data, [category])
    scores = scored(benchmark, items, Mode.OFFICIAL)
    bad = benchmark.score(JudgedImage(items[0], 0, answers(items[0], benchmark) | said), Mode.OFFICIAL)
    assert set(bad) == {"failed"}
    assert re.search(reason, bad["failed"])
    (column,) = benchmark.columns(items, [(items[0], 0, bad), *scores[1:]], Mode.OFFICIAL)
    assert column.images == len(scores) - 1
    assert f"1 of {len(scores)} images left out: {bad['failed']}" in column.note


def test_a_prompt_without_phrases_scores_one(benchmark: T2ICompBench, data: Path) -> None:
    """Nothing to ask is full marks, as officially, also when no judge of questions is there."""
    (data / "color_val.txt").write_text("Running.")
    (item,) = benchmark.items(data, ["color"])
    if item.details["questions"]:
        pytest.fail(f"the parser found phrases: {item.details['questions']}")
    assert not benchmark.requests(item)
    assert benchmark.score(JudgedImage(item, 0, {}), Mode.OFFICIAL) == {"score": 1.0}


def test_ceilings_are_noted_for_all_official_prompts_and_official_rules_alone() -> None:
    """The note about 0.667 stands where it is true."""
    items = [Item(f"spatial/{row}", f"p{row}", "spatial", 1, {}) for row in range(300)]
    scores = [(item, 0, {"score": 0.5}) for item in items]
    (official,) = T2ICompBench().columns(items, scores, Mode.OFFICIAL)
    (fixed,) = T2ICompBench().columns(items, scores, Mode.FIXED)
    (own,) = T2ICompBench(OfficialOptions(custom=True)).columns(items, scores, Mode.OFFICIAL)
    (subset,) = T2ICompBench().columns(items[:9], scores[:9], Mode.OFFICIAL)
    assert "0.667" in official.note
    assert not (fixed.note or own.note or subset.note)


def test_a_column_of_zeros_is_told() -> None:
    """All images 0 is what a detector with damaged weights gives too; one that is not 0 ends the note."""
    items = [Item(f"spatial/{row}", f"p{row}", "spatial", 1, {}) for row in range(9)]
    scores: list[tuple[Item, int, dict[str, float]]] = [(item, 0, {"score": 0.0}) for item in items]
    (column,) = T2ICompBench().columns(items, scores, Mode.OFFICIAL)
    assert (column.value, "every score is 0" in column.note) == (0.0, True)
    (column,) = T2ICompBench().columns(items, [*scores[1:], (items[0], 0, {"score": 0.5})], Mode.OFFICIAL)
    assert "every score is 0" not in column.note


def test_seeds_are_the_official_ones() -> None:
    """Ten seeds from 42 on, the same for every prompt."""
    benchmark = T2ICompBench()
    one, other = (Item(f"color/{row}", "p", "color", 10, {"row": row}) for row in (0, 9))
    assert [benchmark.seed(one, index) for index in range(10)] == list(range(42, 52))
    assert benchmark.seed(other, 3) == 45
