"""TIFA's arithmetic equals recorded outputs of the official functions."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from silmm_benchmarks.benchmark_options import OfficialOptions
from silmm_benchmarks.tifa.benchmark import Tifa
from silmm_benchmarks.tifa.question_filter import answers_agree, keep_answerable, token_f1
from silmm_benchmarks.tifa.questions import from_questions
from silmm_benchmarks.tifa.rules import official_result

from silmm.contracts.benchmarks import JudgedImage, Mode
from tests.conftest import OfficialData

CLOSE = 1e-6


def _golden(goldens: Path, name: str) -> Mapping[str, Any]:
    return json.loads((goldens / name).read_text())


def test_every_aggregation_case_of_the_official_script(goldens: Path) -> None:
    """Averages, deviation, types, captions, stored questions and errors are the official ones."""
    cases = _golden(goldens, "tifa_aggregate.json")["cases"]
    assert len(cases) == 7
    for case in cases:
        want, note = case["result"], case["note"]
        if "raises" in want:
            with pytest.raises(getattr(statistics, want["raises"]), match=want["msg"]):
                _official(case)
            continue
        got = _official(case)
        assert got["tifa_average"] == pytest.approx(want["tifa_average"], abs=CLOSE), note
        assert got["tifa_stdev"] == pytest.approx(want["tifa_stdev"], abs=CLOSE), note
        assert got["accuracy_by_type"] == pytest.approx(want["accuracy_by_type"], abs=CLOSE), note
        assert got["caption_scores"] == pytest.approx(want["caption_scores"], abs=CLOSE), note
        logged = sum(len(questions) for questions in got["question_details"].values())
        assert logged == want["logged_questions"], note


def _official(case: Mapping[str, Any]) -> dict[str, Any]:
    """Give the recorded choices as the answers."""
    return official_result(
        (question, question["vqa_multiple_choice"], question["vqa_multiple_choice"])
        for question in case["questions"]
    )


def test_columns_equal_the_official_script(goldens: Path) -> None:
    """The benchmark's columns give the official averages of all recorded cases with valid questions."""
    checked = 0
    for case in _golden(goldens, "tifa_aggregate.json")["cases"]:
        if not case["questions"] or "raises" in case["result"]:
            continue
        columns = _columns(case)
        assert columns["Overall"].value == pytest.approx(case["result"]["tifa_average"], abs=CLOSE)
        types = {name: columns[name].value for name in case["result"]["accuracy_by_type"]}
        assert types == pytest.approx(case["result"]["accuracy_by_type"], abs=CLOSE), case["note"]
        checked += 1
    assert checked == 6


def _columns(case: Mapping[str, Any]) -> dict[str, Any]:
    """Answer with what was recorded; a recorded choice that is none of the choices stays a wrong answer."""
    benchmark = Tifa(OfficialOptions(custom=True))
    items = from_questions(case["questions"], "golden")
    rows = []
    for item in items:
        given = [q["vqa_multiple_choice"] for q in case["questions"] if str(q["id"]) == item.id]
        questions = [
            {**question, "choices": [*question["choices"], answer]}
            for question, answer in zip(item.details["questions"], given, strict=True)
        ]
        item.details["questions"][:] = questions
        rows.append((item, 0, benchmark.score(JudgedImage(item, 0, {"vqa": given}), Mode.OFFICIAL)))
    return {column.name: column for column in benchmark.columns(items, rows, Mode.OFFICIAL)}


def test_the_published_sample_result(official_data: OfficialData) -> None:
    """TIFA's own sample, from its recorded free answers and choices, gives its published 0.8125 again."""
    published = json.loads(official_data("tifa/sample_evaluation_result.json").read_text())
    questions = json.loads(official_data("tifa/sample_question_answers.json").read_text())
    recorded = [published["question_details"][row["id"]][row["question"]] for row in questions]
    rows = [
        (question, answer["free_form_vqa"], answer["multiple_choice_vqa"])
        for question, answer in zip(questions, recorded, strict=True)
    ]
    assert official_result(rows) == published
    assert published["tifa_average"] == 0.8125


def test_the_published_sample_through_the_benchmark(official_data: OfficialData) -> None:
    """Raw answers, follow-up to the matcher, scores and columns of the sample give 0.8125 and its types."""
    published = json.loads(official_data("tifa/sample_evaluation_result.json").read_text())
    benchmark = Tifa(OfficialOptions(custom=True))
    items = benchmark.items(official_data("tifa/sample_question_answers.json"))
    rows, matched = [], 0
    for item in items:
        recorded = published["question_details"][item.id]
        queries = benchmark.requests(item)[0].queries
        answers = {"vqa": [recorded[query["text"]]["free_form_vqa"] for query in queries]}
        for request in benchmark.follow_up(item, answers):
            by_answer = {one["free_form_vqa"]: one["multiple_choice_vqa"] for one in recorded.values()}
            answers[request.judge] = [by_answer[query["answer"]] for query in request.queries]
            matched += len(request.queries)
        rows.append((item, 0, benchmark.score(JudgedImage(item, 0, answers), Mode.OFFICIAL)))
    columns = {column.name: column for column in benchmark.columns(items, rows, Mode.OFFICIAL)}
    assert columns["Overall"].value == 0.8125
    assert "0.2652" in columns["Overall"].note
    for kind, value in published["accuracy_by_type"].items():
        assert columns[kind].value == pytest.approx(value, abs=CLOSE)
    assert (columns["coco"].value, columns["free-form"].value) == (1.0, 0.625)
    assert matched == sum(
        one["free_form_vqa"] not in one["choices"]
        for caption in published["question_details"].values()
        for one in caption.values()
    )


def test_every_f1_of_the_official_filter(goldens: Path) -> None:
    """Token F1 is the official one on all recorded pairs."""
    cases = _golden(goldens, "tifa_filter.json")["prf"]
    assert len(cases) == 14
    for case in cases:
        assert token_f1(case["gold"], case["pred"]) == pytest.approx(case["f1"], abs=CLOSE), case


def test_the_official_filter_keeps_the_same_questions(goldens: Path) -> None:
    """Of twelve recorded questions the same seven are kept, a repeated one once."""
    golden = _golden(goldens, "tifa_filter.json")["filter"]
    kept = keep_answerable(golden["rows"], lambda row: row["mcqa"], lambda row: row["free"])
    assert [row["question"] for row in kept] == golden["kept_questions"]
    assert answers_agree("2", "two")
    assert not answers_agree("wood", "wooden")
