"""What `silmm bench` promises on the command line: flags, tables, exit codes, resuming after SIGKILL."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from silmm.bench.score_benchmarks import default_out, parse_sets
from silmm.errors import UsageError
from silmm_cli import main
from silmm_cli.bench_cmd import parse_judges

DRAW = ["bench", "shapes", "--model", "tiny-discrete", "--limit", "8", "--set", "shapes.images=1",
        "--set", "generator.batch_size=2"]


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    """Sample and score eight images of the embedded model once."""
    out = tmp_path_factory.mktemp("bench") / "out"
    done = CliRunner().invoke(main, [*DRAW, "--out", str(out), "--json"])
    assert done.exit_code == 0, done.stderr
    return out, json.loads(done.stdout)


def silmm(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)))


def test_json_names_the_result_and_its_columns(sampled):
    """`--json` prints each result's file, card, marks and columns."""
    _, answer = sampled
    (result,) = answer["results"]
    assert Path(result["result"]).is_file()
    assert result["benchmark"] == "shapes"
    assert result["marks"] == ["subset: 8 prompts (--limit 8)"]
    assert result["columns"]["Overall"]["prompts"] == 8
    assert 0 <= result["columns"]["Overall"]["value"] <= 1


def test_the_images_of_a_model_can_be_scored_as_a_folder(sampled, tmp_path):
    """`--images` on what `--model` sampled gives the same numbers, and still knows who sampled them."""
    out, answer = sampled
    done = silmm("bench", "shapes", "--images", out / "shapes" / "images", "--limit", 8,
                 "--set", "shapes.images=1", "--out", tmp_path / "again", "--json")
    assert done.exit_code == 0, done.stderr
    (again,) = json.loads(done.stdout)["results"]
    (first,) = answer["results"]
    assert again["columns"] == first["columns"]
    assert again["card_sha256"] == first["card_sha256"]
    assert again["model"] == "tiny-discrete"


def test_the_table_shows_value_interval_and_n(sampled):
    """People get a table with the interval and both n, the marks, and where the result lies."""
    out, _ = sampled
    done = silmm(*DRAW, "--out", out)
    assert done.exit_code == 0, done.stderr
    for part in ("Overall", "95% interval", "prompts", "images", "subset: 8 prompts", "result   "):
        assert part in done.stdout, part


def test_score_may_be_left_out(sampled):
    """`silmm bench shapes …` and `silmm bench score shapes …` are one command."""
    assert silmm("bench", "shapes", "--help").output == silmm("bench", "score", "shapes", "--help").output
    assert "compare" in silmm("bench", "--help").output


@pytest.mark.parametrize(("arguments", "message"), [
    (["shape", "--model", "x"], "did you mean 'shapes'"),
    (["shapes"], "--model NAME[:DIR] or --images DIR"),
    (["shapes", "--images", "x", "--set", "vqa.a=1"], "there is no such kind"),
    (["shapes", "--images", "x", "--set", "a=1"], "names no kind"),
    (["shapes", "--images", "x", "--judge", "vqa"], "ROLE=NAME[:PATH]"),
    (["shapes", "--images", "x", "--shard", "2/2"], "I/N"),
    (["shapes", "tifa", "--images", "nowhere"], "has no folder shapes"),
    (["shapes", "--model", "tiny-discret"], "did you mean 'tiny-discrete'"),
])
def test_wrong_usage_exits_2_and_says_what_is_wrong(tmp_path, monkeypatch, arguments, message):
    """Wrong names, kinds and combinations are usage errors with a way out."""
    monkeypatch.chdir(tmp_path)
    done = silmm("bench", *arguments)
    assert done.exit_code == 2, done.output
    assert message in done.output


def test_a_dry_run_counts_and_does_nothing(tmp_path):
    """Prompts, images, their price and questions are told; no key is needed, and no file is written."""
    out = tmp_path / "out"
    shown = ["--limit", 8, "--set", "shapes.images=1", "--dry-run", "--out", out]
    done = silmm("bench", "shapes", "--model", "openai-images:m", "--set", "generator.price=0.04", *shown)
    assert done.exit_code == 0, done.stderr
    for part in ("shapes: 8 prompts, 8 images", "8 are to be sampled, at 0.04 each about 0.32",
                 "yes-no: shapes-parser"):
        assert part in done.stderr, part
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "stray.png").write_bytes(b"")
    done = silmm("bench", "shapes", "--images", tmp_path / "images", *shown, "--judge", "yes-no=none")
    assert "0 images exist, 8 missing, 1 extra" in done.stderr
    assert "yes-no: no judge" in done.stderr
    assert not out.exists()


def test_missing_images_exit_4_by_name(tmp_path):
    """A folder without the images is a data error that names the first of them."""
    (tmp_path / "empty").mkdir()
    done = silmm("bench", "shapes", "--images", tmp_path / "empty", "--limit", 8, "--out", tmp_path / "out")
    assert done.exit_code == 4
    assert "32 missing" in done.stderr
    assert ".png" in done.stderr


def test_judges_and_options_are_read_from_their_texts():
    """Later options win; a role given twice is refused."""
    assert parse_sets(["a.b=1", "a.b=2", "c.d-e=x=y"]) == {"a": {"b": "2"}, "c": {"d_e": "x=y"}}
    assert parse_judges(["vqa=mplug:/w/mplug", "clip=none"]) == {"vqa": "mplug:/w/mplug", "clip": "none"}
    with pytest.raises(UsageError, match="twice"):
        parse_judges(["vqa=a", "vqa=b"])


def test_the_default_folder_follows_whose_images_they_are(tmp_path):
    """Equal models meet in one folder, others never; a name from the command line is no path."""
    assert default_out("diffusers:a/b", None) == default_out("diffusers:a/b", None)
    assert default_out("diffusers:a/b", None) != default_out("diffusers:a-b", None)
    assert default_out("../../etc", None).parent == Path("bench")
    assert default_out(None, tmp_path).name.startswith(tmp_path.name[:10])


def test_compare_gives_paired_differences(sampled):
    """A result against itself differs by nothing, with n; other benchmarks are refused."""
    _, answer = sampled
    path = answer["results"][0]["result"]
    done = silmm("bench", "compare", path, path, "--json")
    assert done.exit_code == 0, done.stderr
    (pair,) = json.loads(done.stdout)
    overall = pair["columns"]["Overall"]
    assert (overall["diff"], overall["n"]) == (0.0, 8)
    table = silmm("bench", "compare", path, path)
    assert "difference" in table.stdout
    assert "subset" in table.stdout


@pytest.mark.slow
def test_the_command_survives_sigkill_at_any_stage(sampled, tmp_path):
    """Killed while it samples and before it judges, the same command ends with the same bytes."""
    expected = results_of(sampled[0])
    out = tmp_path / "out"
    command = [sys.executable, "-m", "silmm_cli", *DRAW, "--out", str(out)]
    for line in ("generate 4/8", "check "):
        kill_at(command, line)
        assert not list(out.glob("*.json"))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert results_of(out) == expected


def kill_at(command, line):
    """Start the command and kill it when it prints a line with these words."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
                          env=environment) as process:
        for printed in process.stderr:
            if line in " ".join(printed.split()):
                process.send_signal(signal.SIGKILL)
                break
        process.communicate()
    assert process.returncode == -signal.SIGKILL


def results_of(out):
    """Return the hashes of images and results."""
    files = [*sorted(out.glob("*.json")), *sorted(out.glob("*.parquet")), *sorted(out.rglob("*.png"))]
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
