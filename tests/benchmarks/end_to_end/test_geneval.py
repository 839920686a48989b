"""GenEval from a folder of images to result and official files, on the painted images of the recording."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.end_to_end.conftest import Done
from tests.benchmarks.geneval import golden_recipe


@pytest.fixture
def cases(goldens: Path) -> Sequence[Mapping[str, Any]]:
    """Give the recorded cases with the official defaults; each has another image."""
    recorded = json.loads((goldens / "geneval" / "geneval_rules.json").read_text())["end_to_end"]
    return [case for case in recorded if not case["options"]]


@pytest.fixture
def score(
    bench: Callable[..., Done], cases: Sequence[Mapping[str, Any]], goldens: Path, tmp_path: Path
) -> Callable[..., Done]:
    """Write prompts and images in the official layout and score them by the recording's detector and palette."""
    data = tmp_path / "data" / "geneval"
    data.mkdir(parents=True)
    metadata = [case["metadata"] | {"prompt": f"prompt {number}"} for number, case in enumerate(cases)]
    (data / "evaluation_metadata.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in metadata))
    for number, case in enumerate(cases):
        folder = tmp_path / "images" / f"{number:05d}"
        (folder / "samples").mkdir(parents=True)
        (folder / "metadata.jsonl").write_text(json.dumps(metadata[number]))
        golden_recipe.painted(case)[0].save(folder / "samples" / "0000.png")
    objects = goldens / "geneval" / "geneval_rules.json"

    def run(*more: object, colours: str = "palette") -> Done:
        return bench(
            "geneval", "--images", tmp_path / "images", "--data-dir", tmp_path / "data",
            "--set", "geneval.custom=true", "--set", "geneval.images=1",
            "--judge", f"detector=painted:{objects}", "--judge", f"colours={colours}", *more,
        )

    return run


def _official(done: Done, name: str) -> str:
    (result,) = done.results
    return (result.path.with_suffix(".files") / name).read_text()


def test_every_image_has_the_recorded_verdict(
    score: Callable[..., Done], cases: Sequence[Mapping[str, Any]]
) -> None:
    """Verdicts, details and the summary are the official ones, and the overall column is the summary's number."""
    done = score("--official-files")
    assert done.exit_code == 0, done.stderr
    lines = [json.loads(line) for line in _official(done, "results.jsonl").splitlines()]
    assert [line["correct"] for line in lines] == [case["correct"] for case in cases]
    assert [line["details"] for line in lines] == [case["details"] for case in cases]
    assert f"(avg. over tasks): {done.value('Overall'):.5f}\n" in _official(done, "summary.txt")
    asked = [json.loads(row["answers"]).get("colours", []) for row in done.rows()]
    assert asked == [[name for _, names in case["colours_found"] for name in names] for case in cases]


def test_a_second_call_asks_nothing_again(score: Callable[..., Done], tmp_path: Path) -> None:
    """Masks and colours come from the store; mode fixed is applied to the same answers."""
    first = score()
    stored = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "answers").rglob("*") if path.is_file()}
    second, fixed = score(), score("--mode", "fixed")
    assert second.value("Overall") == first.value("Overall") == fixed.value("Overall")
    assert {path: path.stat().st_mtime_ns for path in stored} == stored
    (result,) = fixed.results
    assert "Overall of image 0" in result.numbers


def test_a_left_out_judge_leaves_its_columns_without_a_number(score: Callable[..., Done]) -> None:
    """Without colours, the tags that ask for them have none, and the note names the judge."""
    done = score(colours="none")
    assert done.exit_code == 0, done.stderr
    assert done.value("Colors") is None
    assert done.value("Overall") is None


@pytest.mark.parametrize("broken", ["missing", "cut", "metadata", "stray"])
def test_a_folder_that_is_not_whole_is_refused(score: Callable[..., Done], tmp_path: Path, broken: str) -> None:
    """A missing or unreadable image, broken metadata and a stray copy are named, and nothing is scored."""
    image = tmp_path / "images" / "00001" / "samples" / "0000.png"
    if broken == "missing":
        image.unlink()
    elif broken == "cut":
        image.write_bytes(image.read_bytes()[:100])
    elif broken == "metadata":
        (image.parent.parent / "metadata.jsonl").write_text("{")
    else:
        os.link(image, f"{image}.bak")
    done = score()
    assert done.exit_code == 4
    assert "00001" in done.stderr
    assert "Traceback" not in done.stderr
    assert score("--allow-missing").exit_code == 0


def test_prompts_of_the_official_form_are_demanded(
    bench: Callable[..., Done], score: Callable[..., Done], tmp_path: Path
) -> None:
    """Without custom=true, a file with other numbers of prompts than the official one is refused."""
    done = bench("geneval", "--images", tmp_path / "images", "--data-dir", tmp_path / "data", "--dry-run")
    assert done.exit_code == 4
    assert "evaluation_metadata.jsonl" in done.stderr
