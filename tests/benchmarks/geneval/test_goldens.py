"""GenEval's rules equal recorded runs of the official scripts, from detections to verdicts, files and summaries."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from silmm_benchmarks.benchmark_options import GenEvalOptions
from silmm_benchmarks.geneval.benchmark import GenEval
from silmm_benchmarks.geneval.official_outputs import RESULTS, summary
from silmm_benchmarks.geneval.prompts import CLASSES, metadata_text
from silmm_benchmarks.geneval.rules import (
    ClassObjects,
    Thresholds,
    details_text,
    evaluate,
    kept_objects,
    overlap,
    relations,
)
from silmm_benchmarks.judges.clip_colours import class_texts, region_crop
from silmm_benchmarks.judges.run_length import encode_mask

from silmm.contracts.benchmarks import ImageFile, Item, JudgedImage, Mode
from silmm.contracts.judges import Detections, Region
from silmm.errors import DataError
from tests.benchmarks.geneval import golden_recipe


@pytest.fixture
def golden(goldens: Path) -> Mapping[str, Any]:
    """Give the recorded calls of the official functions."""
    return json.loads((goldens / "geneval" / "geneval_rules.json").read_text())


def _rows(rows: Sequence[Sequence[Any]]) -> np.ndarray:
    return np.array([[float(value) for value in row] for row in rows], dtype=np.float32).reshape(-1, 5)


def _same_reason(case: Mapping[str, Any], reason: str) -> bool:
    """Compare reasons; where two relations stand in the order of a set, as sets of words."""
    if not case["reason_set_order"]:
        return reason == case["reason"]
    mine, theirs = (
        [sorted(line.replace(",", "").split()) for line in text.split("\n")] for text in (reason, case["reason"])
    )
    return mine == theirs


def test_relations_of_boxes_are_equal(golden: Mapping[str, Any]) -> None:
    """Every pair of boxes has the recorded relations, also at one half and at the same place."""
    for case in golden["relative_position"]:
        boxes = (np.array(case[name], dtype=np.float32) for name in "ab")
        assert set(relations(*boxes, case["position_threshold"])) == set(case["relations"]), case


def test_overlaps_are_equal(golden: Mapping[str, Any]) -> None:
    """Intersection over union, with ends that count, to the last digits of the pinned numpy."""
    for case in golden["compute_iou"]:
        kind = np.float32 if case["kind"] == "float32" else np.float64
        first, second = (np.array(case[name], dtype=kind) for name in "ab")
        assert overlap(first, second) == pytest.approx(case["iou"], abs=1e-12), case


def test_clauses_are_equal(golden: Mapping[str, Any]) -> None:
    """Verdicts, reasons, which colours are asked, and which metadata stop the script."""
    for case in golden["evaluate"]:
        asked: list[list[Any]] = []
        objects = {
            name: ClassObjects(_rows(rows), tuple(range(len(rows)))) for name, rows in case["objects"].items()
        }

        def colours(name: str, source: tuple[int, ...], case: Any = case, asked: Any = asked) -> list[str]:
            asked.append([name, len(source)])
            return case["colors"][name][: len(source)]

        if case["error"]:
            with pytest.raises((KeyError, IndexError)) as raised:
                evaluate(case["metadata"], objects, colours, case["position_threshold"])
            assert raised.type.__name__ == case["error"]
            continue
        verdict = evaluate(case["metadata"], objects, colours, case["position_threshold"])
        assert verdict.correct == case["correct"], case
        assert _same_reason(case, verdict.reason), case
        assert asked == case["color_calls"], case


def _image(case: Mapping[str, Any], colours: Any) -> tuple[Any, str]:
    """Return verdict and details of recorded detections, as the evaluator does for an image."""
    options = Thresholds(**case["options"])
    tag = case["metadata"]["tag"]
    kept = {
        name: kept_objects(_rows(case["detections"][name]), tag, options)
        for name in CLASSES if name in case["detections"]
    }
    objects = {name: each for name, each in kept.items() if each.source}
    return evaluate(case["metadata"], objects, colours, options.position_threshold), details_text(objects)


def test_images_are_equal(golden: Mapping[str, Any]) -> None:
    """Thresholds in float32, ties, cut and suppression give the recorded verdicts and details."""
    for case in golden["evaluate_image"]:
        asked: list[list[Any]] = []

        def colours(name: str, source: tuple[int, ...], case: Any = case, asked: Any = asked) -> list[str]:
            rows = _rows(case["detections"][name])[list(source)]
            asked.append([name, [[float(value) for value in row] for row in rows]])
            return case["colors"][name][: len(source)]

        if case["error"]:
            with pytest.raises(KeyError):
                _image(case, colours)
            continue
        verdict, details = _image(case, colours)
        assert verdict.correct == case["correct"], case
        assert _same_reason(case, verdict.reason), case
        assert details == case["details"], case
        assert metadata_text(case["metadata"]) == case["metadata_string"]
        assert asked == case["color_calls"], case


def test_painted_images_go_through_benchmark_and_crops_alike(golden: Mapping[str, Any], tmp_path: Path) -> None:
    """From detections with masks over crops to verdict, reason and the official line of an image."""
    for case in golden["end_to_end"]:
        image, masks = golden_recipe.painted(case)
        assert hashlib.sha256(image.tobytes()).hexdigest() == case["image_sha256"]
        benchmark = GenEval(GenEvalOptions(custom=True, **case["options"]))
        item = Item("00000", "p", case["metadata"]["tag"], 1, {"metadata": case["metadata"]})
        shapes = case["painted"]
        detections = Detections(
            labels=tuple(shape[0] for shape in shapes),
            scores=np.array([shape[6] for shape in shapes], dtype=np.float32),
            boxes=np.array([shape[2:6] for shape in shapes], dtype=np.float32).reshape(-1, 4),
            frame=image.size,
            masks=tuple(map(encode_mask, masks)) if case["with_mask"] else (),
        )
        answers: dict[str, Any] = {"detector": [detections]}
        for request in benchmark.follow_up(item, answers):
            regions = [
                Region(query["label"], tuple(query["box"]), tuple(query["frame"]), query["mask"])
                for query in request.queries
            ]
            answers[request.judge] = [golden_recipe.nearest_colour(region_crop(image, region)) for region in regions]
        judged = JudgedImage(item, 0, answers)
        numbers = benchmark.score(judged, Mode.OFFICIAL)
        assert numbers["correct"] == case["correct"], case
        assert _same_reason(case, numbers["reason"]), case
        asked = [colour for _, colours in case["colours_found"] for colour in colours]
        assert list(answers.get("colours", [])) == asked, case
        path = tmp_path / "00000" / "samples" / "0000.png"
        files = benchmark.official_files([(ImageFile(item.id, 0, path), judged, numbers)], [], tmp_path, tmp_path)
        line = json.loads(files[RESULTS])
        assert line["details"] == case["details"], case
        assert list(line) == ["filename", "tag", "prompt", "correct", "reason", "metadata", "details"]
        assert "\\/" in files[RESULTS]


def test_lines_are_what_pandas_writes(golden: Mapping[str, Any], tmp_path: Path) -> None:
    """The file of results is the evaluator's byte for byte."""
    pandas = pytest.importorskip("pandas")
    benchmark = GenEval(GenEvalOptions(custom=True))
    metadata = {"tag": "x", "include": [{"class": "dog", "count": 1}], "prompt": 'a "dog" / naïve'}
    item = Item("00000", metadata["prompt"], "x", 1, {"metadata": metadata})
    empty = Detections((), np.zeros(0, np.float32), np.zeros((0, 4), np.float32), (8, 8))
    judged = JudgedImage(item, 0, {"detector": [empty]})
    scored = [(ImageFile(item.id, 0, tmp_path / "0.png"), judged, benchmark.score(judged, Mode.OFFICIAL))]
    text = benchmark.official_files(scored, [], tmp_path, tmp_path)[RESULTS]
    rows = [json.loads(line) for line in text.splitlines()]
    assert text.rstrip("\n") == pandas.DataFrame(rows).to_json(orient="records", lines=True).rstrip("\n")


def test_summaries_are_equal(golden: Mapping[str, Any]) -> None:
    """What the official summary prints, also of unequal numbers of images and equal metadata."""
    for case in golden["summary"]:
        if case["error"]:
            with pytest.raises(DataError, match="no image"):
                summary(case["rows"])
        else:
            assert summary(case["rows"]) == case["stdout"], case["note"]


def test_columns_agree_with_the_summary(golden: Mapping[str, Any]) -> None:
    """Overall, tags and the two shares have the numbers that the official summary prints."""
    for case in golden["summary"]:
        if case["error"]:
            continue
        items, scores = {}, []
        for number, row in enumerate(case["rows"]):
            folder = row["filename"].rpartition("/")[0]
            item = items.setdefault(
                folder, Item(folder, row["prompt"], row["tag"], 4, {"metadata": json.loads(row["metadata"])})
            )
            scores.append((item, number, {"correct": bool(row["correct"]), "reason": ""}))
        columns = {column.name: column for column in GenEval().columns(list(items.values()), scores, Mode.OFFICIAL)}
        printed = case["stdout"]
        assert f"Overall score (avg. over tasks): {columns['Overall'].value:.5f}" in printed
        assert f"% correct images: {columns['Correct Images'].value:.2%}" in printed
        assert f"% correct prompts: {columns['Correct Prompts'].value:.2%}" in printed
        assert f"Total prompts: {columns['Correct Prompts'].prompts}\n" in printed
        assert columns["Overall"].low is None or columns["Overall"].low <= columns["Overall"].value
        assert all(math.isfinite(column.value) for column in columns.values() if column.value is not None)


def test_the_texts_of_a_class_are_equal(golden: Mapping[str, Any]) -> None:
    """Colour by colour, three templates each, in the order in which the encoder reads them."""
    for case in golden["texts"]:
        assert class_texts(case["classname"]) == case["texts"]


def test_the_walk_takes_the_same_files(golden: Mapping[str, Any], tmp_path: Path) -> None:
    """Numbered folders and names that begin as an image's, and nothing else."""
    (case,) = golden["walk"]
    prompts = [name for name in case["folders"] if name.isdigit()]
    items = []
    for number, name in enumerate(case["folders"]):
        samples = tmp_path / name / "samples"
        samples.mkdir(parents=True)
        metadata = {"tag": "x", "include": [{"class": CLASSES[number], "count": 1}], "prompt": name}
        (tmp_path / name / "metadata.jsonl").write_text(json.dumps(metadata))
        if name in prompts:
            items.append(Item(f"{number:05d}", name, "x", 4, {"metadata": metadata}))
        for file in case["files"]:
            (samples / file).touch()
    (tmp_path / "00000" / "samples" / "11.png").mkdir()
    (tmp_path / "5").touch()
    found = GenEval().find(tmp_path, items)
    picked = {image.path.relative_to(tmp_path).as_posix() for image in found.images}
    assert picked == set(case["picked"])
