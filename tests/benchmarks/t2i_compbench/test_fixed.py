"""Mode `fixed` repairs what `repairs` lists, and nothing else changes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from silmm_benchmarks.t2i_compbench.prompts.prompt_files import load_items
from silmm_benchmarks.t2i_compbench.prompts.prompt_parser import Parser
from silmm_benchmarks.t2i_compbench.prompts.related_objects import person
from silmm_benchmarks.t2i_compbench.rules.box_geometry import iou
from silmm_benchmarks.t2i_compbench.rules.label_matching import called, names
from silmm_benchmarks.t2i_compbench.rules.numeracy import RENAMED, numeracy_score
from silmm_benchmarks.t2i_compbench.rules.spatial_2d import score_2d
from silmm_benchmarks.t2i_compbench.rules.spatial_3d import frame_depth, mean_depth, score_3d

from silmm.contracts.benchmarks import Mode
from silmm.contracts.judges import Detections
from tests.conftest import OfficialData

BOXES = st.tuples(*[st.integers(0, 40)] * 4).filter(lambda box: box[0] < box[2] and box[1] < box[3])


def found(*rows: tuple[str, float, tuple[int, int, int, int]]) -> Detections:
    """Build detections, highest score first."""
    return Detections(
        labels=tuple(row[0] for row in rows),
        scores=np.array([row[1] for row in rows], dtype=np.float32),
        boxes=np.array([row[2] for row in rows], dtype=np.float32).reshape(-1, 4),
        frame=(60, 60),
    )


def test_on_top_of_means_on_the_top_of() -> None:
    """The relation without an official rule counts like its twin."""
    above = found(("dog", 0.9, (10, 0, 20, 10)), ("cat", 0.8, (10, 30, 20, 40)))
    pair = ("dog", "cat")
    assert score_2d(above, pair, "on top of") == 0
    assert score_2d(above, pair, "on top of", Mode.FIXED) == score_2d(above, pair, "on the top of")


def test_synonyms_are_found() -> None:
    """Words that are no whole label find the labels that mean them."""
    side = found(("cattle, cow", 0.9, (0, 0, 10, 10)), ("couch", 0.8, (30, 0, 40, 10)))
    assert score_2d(side, ("cow", "sofa"), "on the left of") == 0
    assert score_2d(side, ("cow", "sofa"), "on the left of", Mode.FIXED) == pytest.approx(0.925)
    assert numeracy_score(side, [("sofa", 1)]) == 0
    assert numeracy_score(side, [("sofa", 1)], Mode.FIXED) == 1


def test_a_thing_under_two_names_is_counted_once() -> None:
    """Two labels that mean one word and share a box are one thing."""
    twice = found(("couch", 0.9, (0, 0, 30, 30)), ("studio couch", 0.5, (0, 0, 30, 30)))
    assert numeracy_score(twice, [("sofa", 1)], Mode.FIXED) == 1


def test_parts_of_other_words_are_not_things() -> None:
    """A carrot is no car and a personal care no person, as they officially are."""
    depth = np.tile(np.linspace(1, 0, 60), (60, 1))
    wrong = found(("personal care", 0.9, (0, 0, 20, 20)), ("carrot", 0.8, (5, 0, 25, 20)))
    assert score_3d(wrong, depth, ("person", "car"), "in front of") > 0
    assert score_3d(wrong, depth, ("person", "car"), "in front of", Mode.FIXED) == 0
    assert numeracy_score(found(("carrot", 0.5, (0, 0, 9, 9))), [("car", 1)]) == 1
    assert numeracy_score(found(("carrot", 0.5, (0, 0, 9, 9))), [("car", 1)], Mode.FIXED) == 0


def test_depth_is_read_where_the_thing_is() -> None:
    """What is nearer on the left counts as nearer; the official crop asks above and below instead."""
    depth = np.tile(np.linspace(1, 0, 60), (60, 1))
    side = found(("dog", 0.9, (0, 20, 20, 40)), ("cat", 0.8, (5, 20, 25, 40)))
    assert score_3d(side, depth, ("dog", "cat"), "in front of", Mode.FIXED) == pytest.approx(0.925)
    assert score_3d(side, depth, ("dog", "cat"), "in front of") == pytest.approx(0.425)


def test_depth_comes_into_the_frame_of_the_boxes() -> None:
    """A map of another size is resized to the detector's frame, width first, and lies in [0, 1]."""
    wide = np.tile(np.array([0] * 40 + [255] * 40, dtype=np.uint8), (40, 1))
    depth = frame_depth(wide, (60, 30))
    assert depth.shape == (30, 60)
    assert mean_depth(depth, (0, 0, 25, 30), Mode.FIXED) == 0
    assert mean_depth(depth, (35, 0, 60, 30), Mode.FIXED) == 1


@given(BOXES, st.integers(0, 2**32 - 1))
def test_the_fixed_crop_is_the_official_one_of_the_turned_map(box: tuple[int, ...], seed: int) -> None:
    """Both modes differ in the axes alone."""
    depth = np.random.default_rng(seed).random((45, 45))
    assert mean_depth(depth, box, Mode.FIXED) == pytest.approx(mean_depth(depth.T, box, Mode.OFFICIAL))


@given(BOXES, BOXES)
def test_iou_is_symmetric_and_a_fraction(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    """Overlap does not depend on the order, and is 1 for a box with itself."""
    assert iou(first, second) == iou(second, first)
    assert 0 <= iou(first, second) <= 1
    assert iou(first, first) == 1


def test_names_of_labels() -> None:
    """Commas, slashes and the numbers of repeated names part a label's names."""
    assert names("mouse2, mouse") == {"mouse"}
    assert names("tortoise, tortoise/turtle") == {"tortoise", "turtle"}
    assert not called("hot dog", "dog")


def test_every_thing_but_the_wallet_can_be_found(official_data: OfficialData) -> None:
    """With the official labels, mode fixed finds each thing of the spatial and numeracy prompts but one."""
    data = official_data("t2i-compbench")
    labels = json.loads((data / "unidet_labels_722.json").read_text())
    parser = Parser()
    words = {
        word
        for category in ("spatial", "3d_spatial")
        for item in load_items(data, category, parser)
        for word in item.details["objects"]
    }
    counted = load_items(data, "numeracy", parser)
    words |= {person(word) for item in counted for word, _ in item.details["wanted"]}
    lost = {word for word in words if not any(called(label, RENAMED.get(word, word)) for label in labels)}
    assert lost == {"wallet"}
