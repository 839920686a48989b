"""DPG-Bench whole: published questions of its form, grids composed here, mPLUG's own code, a kill."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean

import pytest
from silmm_benchmarks.dpg_bench.image_layout import join_grid
from silmm_benchmarks.dpg_bench.questions import load_items
from silmm_benchmarks.judges.mplug.judge import MPlugJudge

from silmm.contracts.judges import Question
from tests.benchmarks.end_to_end.conftest import Done, noise
from tests.conftest import REPOSITORY, OfficialData

PROMPTS = 9
SIDE = 64


@pytest.fixture
def data(official_data: OfficialData, tmp_path: Path) -> Path:
    """Give a data folder with the first prompts of DSG's annotations, which have DPG-Bench's columns."""
    folder = tmp_path / "data" / "dpg-bench"
    folder.mkdir(parents=True)
    with official_data("dsg/tifa160-dev-anns.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    wanted = list(dict.fromkeys(row["item_id"] for row in rows))[: PROMPTS + 2]
    with (folder / "dpg_bench.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row for row in rows if row["item_id"] in wanted)
    return folder.parent


@pytest.fixture
def grids(data: Path, tmp_path: Path) -> Path:
    """Compose a 2x2 grid of four different images for each prompt."""
    folder = tmp_path / "grids"
    folder.mkdir()
    for number, item in enumerate(load_items(data / "dpg-bench" / "dpg_bench.csv", official=False)):
        join_grid([noise(4 * number + index, SIDE) for index in range(4)]).save(folder / f"{item.id}.png")
    return folder


def words(data: Path, grids: Path, weights: Path) -> list[object]:
    return [
        "dpg-bench", "--images", grids, "--data-dir", data, "--set", "dpg-bench.custom=true",
        "--canaries", "off", "--judge", f"vqa=mplug:{weights / 'mplug'}", "--limit", PROMPTS,
    ]


def test_every_part_of_a_grid_is_asked_its_questions(
    bench: Callable[..., Done], data: Path, grids: Path, weights: Path
) -> None:
    """The four parts get mPLUG's own answers, the columns follow, and the official reports agree.

    Grids of prompts that --limit leaves out are neither missing nor extra.
    """
    done = bench(*words(data, grids, weights), "--official-files")
    assert done.exit_code == 0, done.stderr
    (result,) = done.results
    assert "files belong to no prompt" not in done.stderr
    rows = done.rows()
    assert len(rows) == 4 * PROMPTS
    items = load_items(data / "dpg-bench" / "dpg_bench.csv", official=False)
    judge = MPlugJudge(weights / "mplug")
    for number in (1, PROMPTS - 1):
        asked = [Question(one["text"]) for one in items[number].details["questions"]]
        mine = [row for row in rows if row["item"] == items[number].id]
        for row in mine[1:3]:
            image = noise(4 * number + row["index"], SIDE)
            assert json.loads(row["answers"])["vqa"] == judge.answer([image], [asked])[0]
    told = {row["item"]: json.loads(row["scores"]) for row in rows}
    # The first prompt lost its first question, as officially; here another one depends on it.
    assert items[0].id in {row["item"] for row in rows if row["failed"]}
    assert f"{items[0].id} dropped: question" in result.numbers["Overall"].note
    assert result.numbers["Overall"].prompts == PROMPTS - 1
    assert told[items[1].id]["score"] >= 0
    check_reports(done, [item.id for item in items[1:PROMPTS]])


def check_reports(done: Done, prompts: list[str]) -> None:
    """Each image's line ends with the mean of its four numbers, and the score is their mean in percent."""
    (result,) = done.results
    folder = result.path.with_suffix(".files")
    lines = (folder / "dpg-bench_results.txt").read_text().splitlines()
    images = [line.split(", ") for line in lines if ".png, " in line]
    assert [Path(path).stem for path, *_ in images] == prompts
    for _, *numbers in images:
        assert float(numbers[-1]) == pytest.approx(fmean(map(float, numbers[:4])))
    overall = float(lines[-1].removeprefix("DPG-Bench score: "))
    assert overall == pytest.approx(100 * result.numbers["Overall"].value)
    assert overall == pytest.approx(100 * fmean(float(numbers[-1]) for _, *numbers in images))
    details = (folder / "dpg-bench_results_detail.txt").read_text().splitlines()
    answered = [json.loads(row["answers"])["vqa"] for row in done.rows() if not row["failed"]]
    assert len(details) == sum(map(len, answered))


@pytest.mark.slow
def test_killed_while_it_judges_the_same_command_goes_on(
    bench: Callable[..., Done], data: Path, grids: Path, weights: Path, plugin: Path, tmp_path: Path
) -> None:
    """SIGKILL after the first stored answers: they are not asked again; the results are the same bytes."""
    whole = bench(*words(data, grids, weights), out="whole")
    assert whole.exit_code == 0, whole.stderr
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "silmm_cli", "bench", *map(str, words(data, grids, weights)),
               "--set", "vqa.batch_size=3", "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (plugin, REPOSITORY)))}
    nowhere = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=nowhere, stderr=nowhere, env=environment) as run:
        while not list(out.glob("answers/answer-*/part-*.jsonl")):
            assert run.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
    assert not list(out.glob("*.json"))
    kept = parts(out)
    again = bench(*words(data, grids, weights), "--set", "vqa.batch_size=16", out="killed")
    assert again.exit_code == 0, again.stderr
    assert kept.items() <= parts(out).items()
    assert results(out) == results(tmp_path / "whole")


def parts(out: Path) -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in out.glob("answers/answer-*/part-*.jsonl")}


def results(out: Path) -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if path.suffix in (".json", ".parquet")}
