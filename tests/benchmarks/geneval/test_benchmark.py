"""GenEval as the runner sees it: what is asked, what is scored, what mode `fixed` repairs, which columns come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from silmm_benchmarks.benchmark_options import GenEvalOptions
from silmm_benchmarks.geneval.benchmark import GenEval
from silmm_benchmarks.geneval.prompts import TAGS
from silmm_benchmarks.geneval.rules import overlap

from silmm.bench.judging.answer_codec import from_stored, to_stored
from silmm.bench.judging.answer_store import AnswerStore
from silmm.contracts.benchmarks import Column, Item, JudgedImage, Mode
from silmm.contracts.judges import Detections
from silmm.errors import DataError

CUSTOM = GenEval(GenEvalOptions(custom=True))


def _item(include: Sequence[Mapping[str, Any]], tag: str = "x", number: int = 0, **more: Any) -> Item:
    metadata = {"tag": tag, "include": list(include), **more, "prompt": "p"}
    return Item(f"{number:05d}", "p", tag, 4, {"metadata": metadata})


def _detections(*rows: tuple[str, float, float]) -> Detections:
    """Return objects of label, left edge and score, ten pixels wide, with a mask each."""
    return Detections(
        labels=tuple(label for label, _, _ in rows),
        scores=np.array([score for _, _, score in rows], dtype=np.float32),
        boxes=np.array([[left, 0, left + 10, 10] for _, left, _ in rows], dtype=np.float32).reshape(-1, 4),
        frame=(100, 50),
        masks=tuple(f"mask {number}" for number in range(len(rows))),
    )


RED_CAR = _item([{"class": "car", "count": 1, "color": "red"}])


def test_only_the_objects_that_a_colour_clause_takes_are_asked_about() -> None:
    """The best one of two cars, with its box, mask and frame; nothing where there is no car or no colour."""
    found = _detections(("car", 0, 0.5), ("dog", 20, 0.9), ("car", 40, 0.8))
    (request,) = CUSTOM.follow_up(RED_CAR, {"detector": [found]})
    assert request.judge == "colours"
    assert request.queries == (
        {"label": "car", "box": [40.0, 0.0, 50.0, 10.0], "frame": [100, 50], "mask": "mask 2"},
    )
    assert CUSTOM.follow_up(RED_CAR, {"detector": [_detections(("dog", 0, 0.9))]}) == ()
    assert CUSTOM.follow_up(_item([{"class": "car", "count": 1}]), {"detector": [found]}) == ()
    assert CUSTOM.follow_up(RED_CAR, {}) == ()
    assert [(request.judge, request.queries) for request in CUSTOM.requests(RED_CAR)] == [
        ("detector", ()), ("colours", ()),
    ]  # fmt: skip
    assert [request.judge for request in CUSTOM.requests(_item([{"class": "car", "count": 1}]))] == ["detector"]


def test_a_detector_without_masks_gives_boxes() -> None:
    """Colours are asked about the box, as the official script does for detectors without masks."""
    plain = _detections(("car", 0, 0.5))
    plain = Detections(plain.labels, plain.scores, plain.boxes, plain.frame)
    (request,) = CUSTOM.follow_up(RED_CAR, {"detector": [plain]})
    assert request.queries[0]["mask"] == ""


def test_cocos_names_are_turned_into_genevals() -> None:
    """A detector that says mouse finds a computer mouse; labels of no class are ignored."""
    found = _detections(("mouse", 0, 0.9), ("wolf", 0, 0.9))
    item = _item([{"class": "computer mouse", "count": 1}])
    assert CUSTOM.score(JudgedImage(item, 0, {"detector": [found]}), Mode.OFFICIAL) == {"correct": True, "reason": ""}


def test_of_equal_scores_the_modes_take_another_object() -> None:
    """Officially the detector's last one, in mode fixed its first; both colours are asked for once."""
    found = _detections(("car", 0, 0.5), ("car", 20, 0.5))
    (request,) = CUSTOM.follow_up(RED_CAR, {"detector": [found]})
    assert [query["mask"] for query in request.queries] == ["mask 1", "mask 0"]
    judged = JudgedImage(RED_CAR, 0, {"detector": [found], "colours": ["blue", "red"]})
    assert CUSTOM.score(judged, Mode.OFFICIAL)["reason"] == "expected red car>=1, found 0 red; and 1 blue"
    assert CUSTOM.score(judged, Mode.FIXED)["correct"] is True


def test_overlaps_of_mode_fixed_are_in_double_precision() -> None:
    """Corners that single precision rounds together differ there."""
    first = np.array([0, 0, 2**24, 9], dtype=np.float32)
    second = np.array([0.5, 0, 2**24, 9], dtype=np.float32)
    assert overlap(first, second) == 1
    assert overlap(first, second, Mode.FIXED) < 1


def test_missing_judges_leave_out_what_needs_them() -> None:
    """Without colours, prompts with a colour have no number; without the detector, none has."""
    found = _detections(("car", 0, 0.5))
    assert CUSTOM.score(JudgedImage(RED_CAR, 0, {"detector": [found]}), Mode.OFFICIAL) == {"missing": "colours"}
    assert CUSTOM.score(JudgedImage(RED_CAR, 0, {}), Mode.OFFICIAL) == {"missing": "detector"}
    nothing = {"detector": [_detections()]}
    assert CUSTOM.score(JudgedImage(RED_CAR, 0, nothing), Mode.OFFICIAL)["reason"] == "expected car>=1, found 0"


def test_colours_of_other_objects_are_refused() -> None:
    """Stored answers that do not fit the detections are an error, not a verdict."""
    answers = {"detector": [_detections(("car", 0, 0.5))], "colours": ["red", "blue"]}
    with pytest.raises(DataError, match="2 stored colours of 1 objects"):
        CUSTOM.score(JudgedImage(RED_CAR, 0, answers), Mode.OFFICIAL)


def test_masks_are_stored_with_their_detections(tmp_path: Path) -> None:
    """What a detector with masks gives comes back from the store; one without masks has none."""
    store = AnswerStore(tmp_path)
    found = _detections(("car", 0, 0.5), ("dog", 7, 0.25))
    back = from_stored(to_stored(found, store), store)
    assert (back.labels, back.masks, back.frame) == (found.labels, found.masks, found.frame)
    assert (back.boxes == found.boxes).all()
    assert "masks" not in to_stored(Detections(found.labels, found.scores, found.boxes, found.frame), store)


def _scores(verdicts: Mapping[str, Sequence[Sequence[int]]]) -> tuple[list[Item], list[tuple[Item, int, Any]]]:
    """Return items of tags and their verdicts: tag → for each prompt its images."""
    items: list[Item] = []
    scores = []
    for tag, prompts in verdicts.items():
        for images in prompts:
            item = _item([{"class": "dog", "count": 1}], tag, len(items), n=len(items))
            items.append(item)
            scores += [(item, index, {"correct": bool(value), "reason": ""}) for index, value in enumerate(images)]
    return items, scores


def _columns(items: Sequence[Item], scores: Sequence[Any], mode: Mode = Mode.OFFICIAL) -> dict[str, Column]:
    return {column.name: column for column in GenEval().columns(items, scores, mode)}


def test_overall_is_the_mean_of_the_tags() -> None:
    """Tags weigh alike, whatever their number of prompts; every column has its n and an interval."""
    items, scores = _scores({"single_object": [[1, 1, 1, 1]] * 3, "counting": [[1, 0, 0, 0], [0, 0, 0, 0]]})
    columns = _columns(items, scores)
    assert list(columns) == ["Overall", "Single Object", "Counting", "Correct Images", "Correct Prompts"]
    assert columns["Overall"].value == pytest.approx((1 + 1 / 8) / 2)
    assert (columns["Counting"].prompts, columns["Counting"].images) == (2, 8)
    assert columns["Correct Images"].value == pytest.approx(13 / 20)
    assert columns["Correct Prompts"].value == pytest.approx(4 / 5)
    for column in columns.values():
        assert column.low <= column.value <= column.high


def test_all_tags_have_the_papers_columns() -> None:
    """Six columns behind the overall one, in official order."""
    items, scores = _scores({tag: [[1, 0, 1, 0]] for tag in TAGS})
    names = [column.name for column in GenEval().columns(items, scores, Mode.OFFICIAL) if not column.detail]
    assert names == [
        "Overall", "Single Object", "Two Object", "Counting", "Colors", "Position", "Color Attribution",
    ]  # fmt: skip


def test_a_part_has_a_number_officially_and_none_in_mode_fixed() -> None:
    """The official mean is over what is there; mode fixed says how many images are missing."""
    items, scores = _scores({"counting": [[1, 1, 1, 1], [1, 0, 0, 0]], "position": [[1, 1, 1, 1]]})
    part = [row for row in scores if (row[0].id, row[1]) not in (("00001", 2), ("00001", 3))]
    assert _columns(items, part)["Counting"].value == pytest.approx(5 / 6)
    fixed = _columns(items, part, Mode.FIXED)
    assert fixed["Counting"].value is None
    assert "6 of 8 images" in fixed["Counting"].note
    assert fixed["Overall"].value is None
    assert fixed["Position"].value == 1


def test_a_tag_without_images_is_left_out_officially() -> None:
    """The overall score says without which tag it is; in mode fixed there is none."""
    items, scores = _scores({"counting": [[1, 1, 1, 1]], "position": [[0, 0, 0, 0]]})
    scores = [row for row in scores if row[0].category == "counting"]
    columns = _columns(items, scores)
    assert columns["Overall"].value == 1
    assert "without Position" in columns["Overall"].note
    assert _columns(items, scores, Mode.FIXED)["Overall"].value is None


def test_equal_metadata_are_one_prompt_officially() -> None:
    """In mode fixed they are two, so that n is the number of lines."""
    same = [_item([{"class": "dog", "count": 1}], "counting", number) for number in range(2)]
    scores = [(item, index, {"correct": True, "reason": ""}) for item in same for index in range(4)]
    assert _columns(same, scores)["Counting"].prompts == 1
    assert _columns(same, scores, Mode.FIXED)["Counting"].prompts == 2


def test_mode_fixed_shows_the_spread_over_seeds() -> None:
    """One overall score for each of the four images of a prompt, as details."""
    items, scores = _scores({"counting": [[1, 1, 0, 0], [1, 0, 0, 0]]})
    columns = _columns(items, scores, Mode.FIXED)
    spread = [columns[f"Overall of image {number}"] for number in range(4)]
    assert [column.value for column in spread] == [1, 0.5, 0, 0]
    assert all(column.detail for column in spread)


def test_a_missing_judge_is_named_in_the_columns() -> None:
    """Colors and the overall score have no number, the others have."""
    items, scores = _scores({"colors": [[1, 1, 1, 1]], "counting": [[1, 1, 1, 1]]})
    scores[0] = (*scores[0][:2], {"missing": "colours"})
    columns = _columns(items, scores)
    assert "clip-l14 (colours)" in columns["Colors"].note
    assert columns["Overall"].value is None
    assert columns["Counting"].value == 1


def test_the_card_holds_what_moves_the_numbers(tmp_path: Path) -> None:
    """Thresholds, images per prompt, the hash of the prompts; seeds count from 42."""
    (tmp_path / "evaluation_metadata.jsonl").write_text("x")
    (tmp_path / "long.jsonl").write_text("x")
    benchmark = GenEval(GenEvalOptions(threshold=0.4))
    assert benchmark.protocol()["thresholds"] == {
        "threshold": 0.4, "counting_threshold": 0.9, "max_objects": 16, "max_overlap": 1.0, "position_threshold": 0.1,
    }  # fmt: skip
    assert list(benchmark.fingerprint(tmp_path)) == ["evaluation_metadata.jsonl"]
    assert list(benchmark.fingerprint(tmp_path / "long.jsonl")) == ["long.jsonl"]
    assert [benchmark.seed(RED_CAR, index) for index in range(2)] == [42, 43]
