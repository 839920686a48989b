"""What the report promises: opens from disk, escapes everything, same bytes for the same run."""

from __future__ import annotations

import fcntl
import json
import math
import re
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner

from silmm.contracts.records import ANSWERS
from silmm.errors import DataError
from silmm.rendering.result_table import direction
from silmm.report import write_report
from silmm.report.charts import histogram, interval_bar, line_chart, ticks
from silmm.report.gallery import Album
from silmm.report.paper import deviations
from silmm.storage.atomic_files import atomic_write
from silmm.storage.json_files import to_json
from silmm.storage.lock import hold
from silmm.storage.shards import Shards
from silmm_cli import main
from tests.cli.report_run import EVIL, SAMPLED, Page, make_run


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def test_the_page_opens_from_disk(run):
    """Every address is a file beside the page, and there is no script at all."""
    path = write_report(run)
    page = Page(path.read_text())
    assert path == run / "report" / "index.html"
    assert page.sources
    assert all((path.parent / source).is_file() for source in page.sources)
    assert "script" not in page.names
    assert not re.search(r"(?:https?:)?//[a-z]", path.read_text())


def test_the_page_holds_what_was_measured(run):
    """Headline, categories, AUC, questions, rejected prompts and deviations are all on the page."""
    text = Page(write_report(run).read_text()).text
    for part in ("0.600 → 0.700", "+0.100", "[+0.050, +0.150]", "numeracy", "0.910", "duplicate 3",
                 "is there two blue squares?", "greatest gain", "chosen", "rejected",
                 "trainer.nll_weight", "log-likelihood against the reference", "VQA accuracy"):
        assert part in text, part


def test_before_stands_before_after(run):
    """The side called before shows the base's images, although files sort their keys."""
    text = write_report(run).read_text()
    actual = text.index("<h4>before</h4>"), text.index("<h4>after</h4>")
    captions = [re.findall(r"<figcaption>(\d)/1", text[start:])[:2] for start in actual]
    assert captions == [["1", "0"], ["1", "1"]]
    assert "greatest gain: +0.50" in text


def test_text_from_data_is_escaped(tmp_path):
    """A prompt with markup stays text everywhere on the page."""
    path = write_report(make_run(tmp_path / "run", prompt=EVIL))
    assert "<script" not in path.read_text()
    assert EVIL in Page(path.read_text()).text


def test_same_run_same_bytes(run):
    """Writing a report twice gives the same files with the same bytes, and replaces the old one."""

    def files():
        folder = write_report(run).parent
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}

    first = files()
    (run / "report" / "stray.txt").write_text("old")
    assert files() == first


def test_a_run_without_evaluation_has_a_report_too(run):
    """With `--until train` the page says that there is no evaluation and shows the rest."""
    (run / "summary.json").unlink()
    (run / "eval" / "images.json").unlink()
    text = Page(write_report(run).read_text()).text
    assert "no evaluation yet" in text
    assert "Training" in text


def test_an_empty_run_has_a_report_too(run, tmp_path):
    """A run that has only begun gives a page of its settings."""
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "run.json").write_bytes((run / "run.json").read_bytes())
    assert "tiny-discrete" in Page(write_report(begun).read_text()).text


def test_a_fall_of_the_chosen_likelihood_is_said(run):
    """When the chosen end below the reference by more than trainer.warn_drop, the page warns."""
    metrics = run / "iter-1" / "metrics.jsonl"
    for fall, warned in ((0.04, False), (0.06, True)):
        row = {"step": 1, "chosen_logp": -fall, "rejected_logp": -2.0}
        atomic_write(metrics, json.dumps(row).encode() + b"\n")
        text = Page(write_report(run).read_text()).text
        assert ("likelihood collapse" in text) == warned
        assert ("smaller trainer.learning_rate" in text) == warned


def test_an_answer_that_was_not_finite_is_a_dash(run):
    """Null answers, of the run and of the benchmark, leave a report with dashes in their place."""
    answers = Shards(run / "iter-1/answers", 1)
    rows = answers.table().to_pylist()
    rows[0] |= {"p_yes": None, "p_no": None}
    answers.commit(0, pa.Table.from_pylist(rows, schema=ANSWERS))
    sampled = Shards(run / "eval/drawn-0", 1)
    images = sampled.table().to_pylist()
    images[0] |= {"p_yes": [None], "p_no": [None]}
    sampled.commit(0, pa.Table.from_pylist(images, schema=SAMPLED))
    assert "<td>–</td>" in write_report(run).read_text()


def test_answers_about_several_images_of_a_candidate_are_averaged(run):
    """With --decodes-per-candidate, the table of candidates shows the mean answer over their images."""
    answers = Shards(run / "iter-1/answers", 1)
    rows = [{**row, "decode": 0} for row in answers.table().to_pylist()]
    further = {**rows[0], "decode": 1, "p_yes": 0.3, "p_no": 0.7}  # the first one's are 0.9 and 0.1
    answers.commit(0, pa.Table.from_pylist([*rows, further], schema=ANSWERS))
    page = write_report(run).read_text()
    assert "<td>+0.20</td>" in page
    assert page.count("<td>+0.80</td>") == 1  # the other prompt's


def test_a_start_beside_a_report_does_not_destroy_it(run, monkeypatch):
    """Whoever opens the run while its report is written leaves the half-written report alone."""
    real = Album.write

    def write(album, folder):
        with hold(run):
            real(album, folder)

    monkeypatch.setattr(Album, "write", write)
    assert write_report(run).is_file()


def test_one_process_writes_the_report_at_a_time(run, monkeypatch):
    """The report's lock is held while it is written; the next one deletes what a kill left of it."""
    leftover = run / ".tmp-report-1-0123abcd"
    leftover.mkdir()
    real = Album.write

    def write(album, folder):
        with (run / "lock-report").open() as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        real(album, folder)

    monkeypatch.setattr(Album, "write", write)
    write_report(run)
    assert not leftover.exists()


def test_a_line_cut_short_by_a_kill_is_left_out(run):
    """The last line of the metrics may be half written; the steps before it are shown."""
    metrics = run / "iter-1" / "metrics.jsonl"
    atomic_write(metrics, metrics.read_bytes() + b'{"step": 13, "lo')
    assert "Training" in Page(write_report(run).read_text()).text


def test_a_name_from_a_file_never_leaves_the_run(run):
    """A manipulated index cannot make the report read outside of the run directory."""
    atomic_write(run / "eval" / "images.json", to_json({"before": "../../x", "1": "drawn-1"}))
    with pytest.raises(DataError, match="no plain folder"):
        write_report(run)


def test_a_corrupt_shard_is_named(run):
    """A shard with other bytes than were committed is an error that names the file."""
    shard = run / "iter-1" / "scores" / "shard-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match=r"shard-00000\.parquet is corrupt"):
        write_report(run)


def test_command_prints_the_page_and_refuses_other_folders(run, tmp_path):
    """`silmm report RUN` prints the page's path; a folder that is no run exits with code 4."""
    result = CliRunner().invoke(main, ["report", str(run)])
    assert result.exit_code == 0
    assert Path(result.stdout.strip()).is_file()
    result = CliRunner().invoke(main, ["report", str(tmp_path)])
    assert result.exit_code == 4
    assert "is not a run directory" in result.stderr


def test_deviations_are_what_differs_from_the_paper():
    """Settings of the paper are no deviation, others are, with both values."""
    options = {"trainer": {"nll_weight": 0.5, "beta": 0.2}, "pair-rule": {"k": 1}}
    actual = {d.setting: (d.paper, d.here) for d in deviations({"prompts": 384, "options": options})}
    assert actual == {"prompts": ("16000", "384"), "trainer.nll_weight": ("0.0", "0.5")}


def test_attributes_are_escaped(tmp_path):
    """A quote in a prompt cannot end the alternative text of its images."""
    run = make_run(tmp_path / "run", prompt='" onload="x')
    page = Page(write_report(run).read_text())
    assert 'alt="&#34; onload=&#34;x, image 0"' in (run / "report/index.html").read_text()
    assert "onload" not in page.attributes


def test_charts_hold_every_finite_value():
    """Lines break at values that are not finite, and shares of a histogram keep all the values."""
    broken = line_chart("loss", {"loss": [(1, 0.5), (2, math.nan), (3, 0.7), (4, 0.8)]})
    assert [shape.element for shape in broken.drawing.shapes if "points" in shape.geometry] == ["polygon", "polyline"]
    assert "nan" not in str(broken)
    chart = histogram("scores", {"a": [-1.0, 1.0, math.nan]}, span=(-1, 1), bins=4)
    assert chart.legend == [("c1", "a (n=2)")]
    assert len([shape for shape in chart.drawing.shapes if shape.element == "rect"]) == 2
    assert line_chart("loss", {"loss": [(1, math.nan)]}).drawing is None


def test_an_interval_is_marked_by_its_sign():
    """Only an interval without zero counts as up or down; without an interval nothing does."""
    ends = ((0.1, 0.3), (-0.3, -0.1), (-0.1, 0.3), (math.nan, math.nan))
    bars = [interval_bar(low, 0.2, high, 1) for low, high in ends]
    assert [bar.shapes[-1].css for bar in bars] == ["better", "worse", "level", "level"]
    assert [direction(low, high)[1] for low, high in ends] == ["better", "worse", "level", "level"]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3, 250), (0.001, 0.002), (5, 5)])
def test_ticks_are_round_and_inside(low, high):
    """Axis labels lie inside the axis, a few of them."""
    actual = ticks(low, high)
    assert 1 <= len(actual) <= 7
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in actual)
