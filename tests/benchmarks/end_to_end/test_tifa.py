"""TIFA whole: its published sample, free answers, the matcher that follows, the official result file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.end_to_end.conftest import Done
from tests.conftest import OfficialData

STDEV = 0.2651650429449553


@pytest.fixture
def sample(official_data: OfficialData, tmp_path: Path) -> tuple[Path, Path]:
    """Give a data folder with the published sample, and its index of images."""
    source, data = official_data("tifa/sample_text_inputs.json").parent, tmp_path / "data" / "tifa"
    data.mkdir(parents=True)
    shutil.copyfile(source / "sample_text_inputs.json", data / "tifa_v1.0_text_inputs.json")
    shutil.copyfile(source / "sample_question_answers.json", data / "tifa_v1.0_question_answers.json")
    images = tmp_path / "images"
    shutil.copytree(source / "sample_images", images, copy_function=shutil.copyfile)
    shutil.copyfile(source / "sample_imgs.json", images / "index.json")
    return data.parent, images / "index.json"


@pytest.fixture
def score(bench: Callable[..., Done], sample: tuple[Path, Path], weights: Path) -> Callable[..., Done]:
    """Score the sample with a VQA judge and a tiny MPNet as matcher."""
    data, index = sample

    def run(vqa: str, *more: object, out: str = "out") -> Done:
        return bench(
            "tifa", "--images", index, "--data-dir", data, "--set", "tifa.custom=true", "--canaries", "off",
            "--judge", f"vqa={vqa}", "--judge", f"matcher=mpnet-match:{weights / 'mpnet'}", *more, out=out,
        )

    return run


def test_the_published_answers_give_the_published_result(
    score: Callable[..., Done], official_data: OfficialData
) -> None:
    """mPLUG's recorded answers become 0.8125, by type and caption, in the result and in the official file.

    One of the nineteen answers ("0" to a question with the choices 1 to 4) goes to the matcher.
    """
    path = official_data("tifa/sample_evaluation_result.json")
    published = json.loads(path.read_text())
    done = score(f"recorded:{path}", "--official-files")
    assert done.exit_code == 0, done.stderr
    (result,) = done.results
    assert done.value("Overall") == 0.8125
    assert f"stdev over captions {STDEV:.4f}" in result.numbers["Overall"].note
    for kind, value in published["accuracy_by_type"].items():
        assert result.numbers[kind].value == pytest.approx(value)
    written = json.loads(result.path.with_suffix(".files").joinpath("tifa_result.json").read_text())
    matched = [
        row.pop("multiple_choice_vqa")
        for question in (written, published)
        for row in [question["question_details"]["drawbench_52"]["how many dogs are in the picture?"]]
    ]
    assert matched[0] in ("1", "3", "4")  # the small matcher's, and not the right one either
    assert written == published
    asked = [json.loads(row["answers"]).get("matcher") for row in done.rows()]
    assert sorted(map(bool, asked)) == [False, True]


def test_the_real_judge_and_matcher_answer_every_question(
    score: Callable[..., Done], weights: Path, sample: tuple[Path, Path]
) -> None:
    """mPLUG's own code answers all questions, MPNet maps what is no choice, and nothing is asked again."""
    first = score(f"mplug:{weights / 'mplug'}")
    assert first.exit_code == 0, first.stderr
    records = json.loads((sample[0] / "tifa" / "tifa_v1.0_question_answers.json").read_text())
    for row in first.rows():
        asked = [question for question in records if str(question["id"]) == row["item"]]
        check_choices(row, asked)
    before = parts(first)
    second = score(f"mplug:{weights / 'mplug'}", "--mode", "fixed")
    assert parts(second) == before
    assert second.value("Overall") == first.value("Overall")


def check_choices(row: dict[str, Any], asked: list[dict[str, Any]]) -> None:
    """Each question has an answer, a choice, and a point exactly where the choice is the right one."""
    answers, scores = json.loads(row["answers"]), json.loads(row["scores"])
    assert len(answers["vqa"]) == len(asked) == len(scores["chosen"])
    free = [
        answer for answer, question in zip(answers["vqa"], asked, strict=True) if answer not in question["choices"]
    ]
    assert len(free) == len(answers.get("matcher", ()))
    assert all(choice in question["choices"] for choice, question in zip(scores["chosen"], asked, strict=True))
    right = [choice == question["answer"] for choice, question in zip(scores["chosen"], asked, strict=True)]
    assert scores["score"] == pytest.approx(sum(right) / len(right))


def parts(done: Done) -> set[str]:
    return {path.name for path in Path(done.answer["out"]).rglob("part-*.jsonl")}


def test_a_missing_image_leaves_the_full_result_alone(
    score: Callable[..., Done], sample: tuple[Path, Path], official_data: OfficialData
) -> None:
    """A partial result has a file of its own, and the whole one stays as it was."""
    vqa = f"recorded:{official_data('tifa/sample_evaluation_result.json')}"
    whole = score(vqa).results[0].path
    before = whole.read_bytes()
    index = json.loads(sample[1].read_text())
    index["drawbench_52"] = "drawbench_53.jpg"
    sample[1].write_text(json.dumps(index))
    refused = score(vqa)
    assert refused.exit_code == 4
    assert "drawbench_53.jpg" in refused.stderr
    done = score(vqa, "--allow-missing")
    (result,) = done.results
    assert result.path != whole
    assert result.marks[0].startswith("partial: 1 missing")
    assert done.value("Overall") == 1.0
    assert whole.read_bytes() == before
