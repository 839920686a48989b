"""The rules in mode `official` give what the official functions gave (recorded outputs, to 1e-6)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from silmm_benchmarks.t2i_compbench.official_outputs import category_files
from silmm_benchmarks.t2i_compbench.prompts.grammar import LETTER_OF_TAG, OTHER, Parse, Token, without_adjectives
from silmm_benchmarks.t2i_compbench.prompts.prompt_files import CATEGORIES, load_items, read_objects
from silmm_benchmarks.t2i_compbench.prompts.prompt_parser import Parser
from silmm_benchmarks.t2i_compbench.prompts.related_objects import (
    RELATIONS_2D,
    RELATIONS_3D,
    complex_pair,
    relation,
    simple_pair,
)
from silmm_benchmarks.t2i_compbench.rules import lmm_replies
from silmm_benchmarks.t2i_compbench.rules.attribute_binding import attribute_score, questions
from silmm_benchmarks.t2i_compbench.rules.box_geometry import is_duplicate
from silmm_benchmarks.t2i_compbench.rules.image_scores import parts_of
from silmm_benchmarks.t2i_compbench.rules.numeracy import numeracy_score, wanted_objects
from silmm_benchmarks.t2i_compbench.rules.spatial_2d import relation_2d, score_2d
from silmm_benchmarks.t2i_compbench.rules.spatial_3d import relation_3d, score_3d
from silmm_benchmarks.t2i_compbench.rules.three_in_one import PARTS, three_in_one

from silmm.contracts.judges import Detections
from tests.conftest import OfficialData

CLOSE = 1e-6


def golden(goldens: Path, name: str) -> Any:
    """Read one file of recorded outputs."""
    return json.loads((goldens / f"t2i_{name}.json").read_text(encoding="utf-8"))


def parsed(prompt: str, tokens: Sequence[tuple[str, str]]) -> Parse:
    """Place recorded tokens and tags in their prompt."""
    spans, end = [], 0
    for word, tag in tokens:
        start = prompt.index(word, end)
        end = start + len(word)
        spans.append(Token(start, end, LETTER_OF_TAG.get(tag, OTHER)))
    return Parse(prompt, tuple(spans), ())


def detections(rows: Sequence[tuple[str, float, Sequence[float]]]) -> Detections:
    """Build detections from recorded label, score and box."""
    return Detections(
        labels=tuple(label for label, _, _ in rows),
        scores=np.array([score for _, score, _ in rows], dtype=np.float32),
        boxes=np.array([box for _, _, box in rows], dtype=np.float32).reshape(-1, 4),
        frame=(479, 479),
    )


def ramp(kind: str, height: int, width: int) -> np.ndarray:
    """Make the synthetic depth maps of the recordings."""
    across = np.tile(np.linspace(0, 1, width), (height, 1))
    down = np.tile(np.linspace(0, 1, height)[:, None], (1, width))
    maps = {
        "left_near": 1 - across, "right_near": across, "top_near": 1 - down, "bottom_near": down,
        "flat": np.full((height, width), 0.5),
    }
    return maps[kind]


def box(named: Mapping[str, float]) -> tuple[float, float, float, float]:
    """Return a recorded box in our order."""
    return named["x_min"], named["y_min"], named["x_max"], named["y_max"]


def test_2d_relation_of_two_boxes(goldens: Path) -> None:
    """Every relation word, ties, overlaps and boxes without area score as recorded."""
    keywords = {"iou_threshold": "overlap", "distance_threshold": "near"}
    cases = golden(goldens, "2d_determine_position")["cases"]
    for case in cases:
        words, first, second = case["locality"], box(case["box1"]), box(case["box2"])
        options = {keywords[name]: value for name, value in case["kwargs"].items()}
        if isinstance(case["score"], dict):
            with pytest.raises(ZeroDivisionError):
                relation_2d(words, first, second, **options)
        else:
            score = relation_2d(words, first, second, **options)
            assert score == pytest.approx(case["score"], abs=CLOSE), case
    assert len(cases) >= 62


@pytest.mark.parametrize(("mode", "pair"), [("simple", simple_pair), ("complex", complex_pair)])
def test_2d_score_of_a_image(goldens: Path, mode: str, pair: Any) -> None:
    """Tags to objects, objects to boxes, boxes to a score with its cut at 0.5."""
    cases = golden(goldens, "2d_image_score")["modes"][mode]["cases"]
    for case in cases:
        objects = pair(parsed(case["prompt"], case["tokens"]))
        score = score_2d(detections(case["dets"]), objects, relation(case["prompt"], RELATIONS_2D))
        assert score == pytest.approx(case["answer"], abs=CLOSE), case["note"]
    assert len(cases) >= 6


def test_3d_relation_of_two_boxes(goldens: Path) -> None:
    """Swapped axes, the hole at IoU 0.5, crops outside the map and 2D words score as recorded."""
    cases = golden(goldens, "3d_determine_position")["cases"]
    for case in cases:
        depth = ramp(case["depth"]["kind"], case["depth"]["h"], case["depth"]["w"])
        score = relation_3d(case["locality"], box(case["box1"]), box(case["box2"]), depth)
        assert score == pytest.approx(case["score"], abs=CLOSE), case
    assert len(cases) >= 50


def test_3d_score_of_a_image(goldens: Path) -> None:
    """Labels are searched by substring, and the last match before the other object counts."""
    cases = golden(goldens, "3d_image_score")["cases"]
    for case in cases:
        objects = simple_pair(parsed(case["prompt"], case["tokens"]))
        depth = ramp(case["depth_kind"], *case["hw"])
        score = score_3d(detections(case["dets"]), depth, objects, relation(case["prompt"], RELATIONS_3D))
        assert score == pytest.approx(case["answer"], abs=CLOSE), case["note"]
    assert len(cases) >= 7


@pytest.mark.parametrize(("category", "name"), [
    ("spatial", "2d_image_score"), ("3d_spatial", "3d_image_score"), ("numeracy", "numeracy_image_score"),
    ("color", "blip_vqa_aggregate"), ("complex", "3in1"),
])
def test_official_files(goldens: Path, category: str, name: str) -> None:
    """Numbers or ranks of images, answers, their form and the line with the mean are as recorded."""
    run = golden(goldens, name)
    run = {"2d_image_score": lambda: run["modes"]["simple"], "3in1": lambda: run["small"][0],
           "blip_vqa_aggregate": lambda: run["runs"][0]}.get(name, lambda: run)()
    cases = run.get("cases") or [
        {"question_id": place, "answer": answer} for place, answer in enumerate(run["answers"])
    ]
    numbers = [
        int(case["file"].rpartition("_")[2].split(".")[0]) if "file" in case else case["question_id"]
        for case in cases
    ]
    scores = [(number, float(case["answer"])) for number, case in zip(numbers, cases, strict=True)]
    files = category_files(category, scores[::-1])
    (result,) = (json.loads(text) for path, text in files.items() if path.endswith("/vqa_result.json"))
    (line,) = (text for path, text in files.items() if path.endswith(".txt"))
    for written, case in zip(result, sorted(cases, key=lambda case: case["question_id"]), strict=True):
        assert written["question_id"] == case["question_id"]
        assert type(written["answer"]) is type(case["answer"]) or not isinstance(case["answer"], str)
        assert float(written["answer"]) == pytest.approx(float(case["answer"]), abs=CLOSE)
    recorded = run.get("avg_txt") or run["score_txt"]
    numbers_of = re.compile(r"(?<![a-zA-Z])[0-9.]+")
    assert numbers_of.sub("#", line) == numbers_of.sub("#", recorded) + "\n"
    if category in ("color", "complex"):  # of the others only a part of the images is recorded
        (mean,), (expected,) = map(numbers_of.findall, (line, recorded))
        assert float(mean) == pytest.approx(float(expected), abs=CLOSE)


def test_duplicates(goldens: Path) -> None:
    """Nested, shifted, inverted and empty boxes are told apart as recorded."""
    cases = golden(goldens, "numeracy_duplicate")["cases"]
    for case in cases:
        assert is_duplicate(case["box1"], case["box2"]) == bool(case["duplicate"]), case["note"]
    assert len(cases) >= 8


def test_numeracy_score_of_a_image(goldens: Path, official_data: OfficialData) -> None:
    """Prompt to wanted things, detections to counts, counts to a score."""
    singular_of = read_objects(official_data("t2i-compbench/new_objects.txt"))
    cases = golden(goldens, "numeracy_image_score")["cases"]
    for case in cases:
        wanted = wanted_objects(case["prompt"].split(), singular_of)
        score = numeracy_score(detections(case["dets"]), wanted)
        assert score == pytest.approx(case["answer"], abs=CLOSE), case["note"]
    assert len(cases) >= 13


def test_things_and_numbers_of_the_val_prompts(goldens: Path, official_data: OfficialData) -> None:
    """The table's tokens and the official list give each prompt's recorded things and numbers."""
    table = golden(goldens, "numeracy_val_parse")["table"]
    items = load_items(official_data("t2i-compbench"), "numeracy", Parser())
    assert len(table) == 150
    for line, wanted in table.items():
        item = items[int(line) - 1]
        assert item.details["wanted"] == wanted, item.prompt


def test_attribute_scores(goldens: Path) -> None:
    """Phrases are filtered and cut, probabilities rounded, multiplied in 32 bit and rounded again."""
    for run in golden(goldens, "blip_vqa_aggregate")["runs"]:
        scores = []
        for case in run["cases"]:
            asked = questions(case["noun_chunks"], run["np_num"])
            assert asked == [question for question in case["questions_asked"] if question]
            scores.append(attribute_score(case["p_yes"][: len(asked)]))
            assert scores[-1] == pytest.approx(float(case["answer"]), abs=CLOSE), case["file"]
        assert np.mean(scores) == pytest.approx(float(run["score_txt"].split(":")[1]), abs=CLOSE)


def test_text_for_clip(goldens: Path) -> None:
    """Adjectives are left out, all other tokens stand apart."""
    for case in golden(goldens, "clip_complex_text")["cases"]:
        prompt = " ".join(word for word, _ in case["tokens"])
        assert without_adjectives(parsed(prompt, case["tokens"])) == case["text"]


def test_three_in_one_of_few_images(goldens: Path) -> None:
    """Forty images: one prompt of the spatial list, one of the action list, two of neither."""
    for run in golden(goldens, "3in1")["small"]:
        scores = []
        for place, answer in enumerate(run["answers"]):
            parts = {
                "attribute": float(run["attribute"][place]), "spatial": run["spatial"][place],
                "clip": run["action"][place],
            }
            group = ("spatial", "action", "both", "both")[place // 10]
            scores.append(three_in_one(parts, group))
            assert scores[-1] == pytest.approx(answer, abs=CLOSE)
        assert np.mean(scores) == pytest.approx(float(run["avg_txt"].split(":")[1]), abs=CLOSE)


def test_three_in_one_of_all_complex_prompts(goldens: Path, official_data: OfficialData) -> None:
    """The official lists part the 300 prompts in 58, 212 and 30, and 3,000 images score as recorded."""
    run = golden(goldens, "3in1")["full_complex_val"]
    items = load_items(official_data("t2i-compbench"), "complex", Parser())
    groups = [item.details["group"] for item in items]
    assert [groups.count(group) for group in PARTS] == [58, 212, 30]
    assert all(parts_of(item) == PARTS[item.details["group"]] for item in items)
    scores = []
    for i in range(3000):
        parts = {
            "attribute": float(f"{(37 * i % 1000) / 1000:.4f}"),
            "spatial": 0 if i % 3 else (53 * i % 500) / 1000 + 0.5,
            "clip": (29 * i % 400) / 1000,
        }
        scores.append(three_in_one(parts, groups[i // 10]))
    for sample in run["samples"]:
        assert scores[sample["i"]] == pytest.approx(sample["answer"], abs=CLOSE)
    assert np.mean(scores) == pytest.approx(float(run["avg_txt"].split(":")[1]), abs=CLOSE)


def test_replies_of_gpt4v(goldens: Path) -> None:
    """Only the exact official spelling is a score; no score is 0."""
    for case in golden(goldens, "gpt4v_parse")["cases"]:
        assert lmm_replies.gpt4v_scores(case["reply"]) == case["scores"]
        assert lmm_replies.gpt4v_average(case["reply"]) == pytest.approx(case["average"], abs=CLOSE)


def test_replies_of_sharegpt4v(goldens: Path) -> None:
    """Levels are mapped and multiplied; a reply that cannot be read changes nothing."""
    recorded = golden(goldens, "sharegpt4v_score")
    maps = {"attribute": lmm_replies.ATTRIBUTE_LEVELS, "relation": lmm_replies.RELATION_LEVELS}
    for name, levels in recorded["maps"].items():
        assert maps[name] == {int(level): percent for level, percent in levels.items()}
    for case in recorded["cases"]:
        score = lmm_replies.sharegpt4v_score(case["replies"], maps[case["map"]])
        assert score == pytest.approx(case["score"], abs=CLOSE), case


def test_every_category_has_its_parts(official_data: OfficialData) -> None:
    """2,400 prompts load, 300 of each category."""
    data = official_data("t2i-compbench")
    parser = Parser()
    assert sum(len(load_items(data, category, parser)) for category in CATEGORIES) == 2400
    assert "spaCy" in parser.identity and parser.identity.startswith("table ")
