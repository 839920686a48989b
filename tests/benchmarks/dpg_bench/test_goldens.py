"""DPG-Bench's arithmetic equals a recorded run of the official script, from images' answers to columns."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from silmm_benchmarks.benchmark_options import DpgBenchOptions
from silmm_benchmarks.dpg_bench.benchmark import L1, DpgBench
from silmm_benchmarks.dpg_bench.questions import load_items
from silmm_benchmarks.dpg_bench.rules import LostQuestionError, score_crop

from silmm.contracts.benchmarks import Column, JudgedImage, Mode
from tests.conftest import OfficialData

CLOSE = 1e-6
_COLUMNS = (
    "item_id", "text", "keywords", "proposition_id", "dependency", "category_broad", "category_detailed",
    "tuple", "question_natural_language",
)  # fmt: skip


@pytest.fixture
def golden(goldens: Path) -> Mapping[str, Any]:
    """Give the recorded runs of the official script."""
    return json.loads((goldens / "dpg_end_to_end.json").read_text())


def _table(golden: Mapping[str, Any], path: Path, *, without: tuple[str, ...] = ()) -> Path:
    """Write the recorded items as the official table."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS, restval="x")
        writer.writeheader()
        for item in golden["items"]:
            for row in item["rows"]:
                if item["item_id"] not in without:
                    writer.writerow({
                        "item_id": item["item_id"], "text": f"prompt {item['item_id']}",
                        "proposition_id": row["proposition_id"], "dependency": row["dependency"],
                        "tuple": row["tuple"], "question_natural_language": row["question"],
                    })  # fmt: skip
    return path


def _run(golden: Mapping[str, Any], table: Path, images: int, mode: Mode) -> tuple[
    dict[str, list[float]], list[Column], dict[str, str]
]:  # fmt: skip
    """Score the recorded answers: crop scores of each item, columns, and what failed."""
    benchmark = DpgBench(DpgBenchOptions(images=images, custom=True))
    items = benchmark.items(table)
    crops: dict[str, list[float]] = {}
    failed: dict[str, str] = {}
    rows = []
    for item in items:
        recorded = golden["answers"][item.id]
        for index in range(images if item.id in golden["images_present"] else 0):
            given = recorded[min(index, len(recorded) - 1)]
            answers = [given[str(question["id"])] for question in item.details["questions"]]
            scores = benchmark.score(JudgedImage(item, index, {"vqa": answers}), mode)
            rows.append((item, index, scores))
            if "failed" in scores:
                failed[item.id] = scores["failed"]
            else:
                crops.setdefault(item.id, []).append(scores["score"])
    return crops, benchmark.columns(items, rows, mode), failed


def test_every_run_of_the_official_script(golden: Mapping[str, Any], tmp_path: Path) -> None:
    """Crop scores, overall and, where one process ran, all categories are the official ones."""
    table = _table(golden, tmp_path / "dpg_bench.csv", without=("badparent",))
    assert [(run["pic_num"], run["n_proc"]) for run in golden["runs"]] == [
        (4, 1), (1, 1), (2, 1), (4, 2), (4, 2), (4, 2),
    ]  # fmt: skip
    for run in golden["runs"]:
        want = run["result"]
        crops, columns, failed = _run(golden, table, run["pic_num"], Mode.OFFICIAL)
        assert crops.keys() == {name.removesuffix(".png") for name in want["per_image"]}
        for name, image in want["per_image"].items():
            assert crops[name.removesuffix(".png")] == pytest.approx(image["crop_scores"], abs=CLOSE), name
        values = {column.name: column.value for column in columns}
        assert values["Overall"] == pytest.approx(want["dpg_score"] / 100, abs=CLOSE)
        assert list(failed) == ["first0"]
        if run["n_proc"] == 1:  # with more the official sums are scrambled
            shown = {column.name: column.value for column in columns if column.detail}
            official = {name: value / 100 for name, value in want["L2"].items()}
            assert shown == pytest.approx(official, abs=CLOSE)
            for name in L1:
                assert values[name.capitalize()] == pytest.approx(want["L1"][name] / 100, abs=CLOSE), name


def test_a_question_without_its_parent_fails_as_officially(golden: Mapping[str, Any]) -> None:
    """The item whose question depends on one that does not exist is dropped, and the missing one is named."""
    item = next(item for item in golden["items"] if item["item_id"] == "badparent")
    questions = [
        {
            "id": row["proposition_id"], "parents": [int(row["dependency"])] * (row["dependency"] != "0"),
            "category": "x", "text": row["question"], "first_row": False,
        }
        for row in item["rows"]
    ]  # fmt: skip
    with pytest.raises(LostQuestionError, match="question 2 depends on 9"):
        score_crop(questions, ["yes", "yes"], Mode.OFFICIAL)
    assert all(
        any(failure.startswith("Failed filename: badparent.png 9") for failure in run["result"]["failed"])
        for run in golden["runs"][:4]
    )


def test_repaired_rules_differ_in_the_first_item_and_the_categories_alone(
    golden: Mapping[str, Any], tmp_path: Path
) -> None:
    """With its first row back the first prompt counts too; no other prompt's score changes."""
    table = _table(golden, tmp_path / "dpg_bench.csv", without=("badparent",))
    official, _, _ = _run(golden, table, 4, Mode.OFFICIAL)
    fixed, columns, failed = _run(golden, table, 4, Mode.FIXED)
    assert not failed
    assert {name: scores for name, scores in fixed.items() if name != "first0"} == official
    assert fixed["first0"] == [1.0] * 4
    overall = columns[0]
    assert (overall.prompts, overall.images) == (12, 48)
    spatial = next(column for column in columns if column.name == "relation - spatial")
    assert spatial.value == 3 / 4  # of twoparents' answers yes, yes, yes, no; officially the last alone


def test_real_answers_of_mplug_to_real_questions(official_data: OfficialData, tmp_path: Path) -> None:
    """On DSG's published answers every score is what the rule, written down once more, says it is."""
    items = load_items(_sound(official_data("dsg/dsg-1k-anns.csv"), tmp_path / "dsg.csv"), official=False)
    given: dict[tuple[str, str], dict[int, str]] = {}
    for row in _rows(official_data("dsg/mplug_dsg.csv")):
        given.setdefault((row["item_id"], row["t2i_model"]), {})[int(row["question_id"])] = row["answer"]
    questions = {item.id: item.details["questions"] for item in items}
    scored = 0
    for (key, _), answers in given.items():
        asked = questions.get(key, [])
        if not asked or {question["id"] for question in asked} - answers.keys():
            continue
        result = score_crop(asked, [answers[question["id"]] for question in asked], Mode.FIXED)
        zero = {question["id"] for question in asked if answers[question["id"]] != "yes"}
        for question in asked:
            zero |= {question["id"]} if zero & set(question["parents"]) else set()
        assert result.score == pytest.approx(1 - len(zero) / len(asked))
        scored += 1
    assert scored > 500


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _sound(source: Path, target: Path) -> Path:
    """Copy the prompts of a table whose questions have their parents and go in no circle."""
    rows = _rows(source)
    numbers: dict[str, set[str]] = {}
    for row in rows:
        numbers.setdefault(row["item_id"], {"0"}).add(row["proposition_id"])
    bad = {"drawtext_45", "diffusiondb_16", "localized_narratives_50"} | {
        row["item_id"]
        for row in rows
        if not {part.strip() for part in row["dependency"].split(",")} <= numbers[row["item_id"]]
    }
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row for row in rows if row["item_id"] not in bad)
    return target
