"""What `silmm reproduce` promises on the command line: lists, a resumable table, files and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from silmm.errors import DataError
from silmm.reproduce.listing import EXPERIMENTS
from silmm_cli import main

KINDS = ("prompter", "sampler", "questioner", "scorer", "pair_rule", "trainer")
TOY = [
    *("--model", "toy", "--benchmark", "toy", "--prompts", "5", "--set", "images_per_prompt=3"),
    *(word for kind in KINDS for word in ("--set", f"{kind}=toy")),
]


@pytest.fixture(autouse=True)
def toy(work_with_toys):
    """Work with the toy and the built-in plugins in an empty directory."""
    work_with_toys("silmm-toy,silmm")


def silmm(*arguments):
    return CliRunner().invoke(main, ["reproduce", *arguments])


def test_list_shows_every_table_and_figure():
    """`--list` names them all with their rows, also as JSON, and runs nothing."""
    shown = silmm("--list").stdout
    assert all(name in shown for name in EXPERIMENTS)
    data = json.loads(silmm("--list", "--json").stdout)
    assert [item["name"] for item in data] == list(EXPERIMENTS)
    assert list(Path().glob("reproduce")) == []


def test_list_of_a_table_shows_its_rows_and_what_is_not_possible():
    """`NAME --list` resolves every row: what it changes, where it would run, or why it cannot."""
    rows = json.loads(silmm("table3", "--model", "tiny-discrete", "--list", "--json").stdout)
    assert [row["row"] for row in rows] == [row.name for row in EXPERIMENTS["table3"].rows]
    assert rows[0]["runs"]
    assert rows[0]["paper"]["attribute"] == 22.94
    assert "continuous" in rows[-1]["reason"]
    assert rows[-1]["runs"] == []
    assert "not possible" in silmm("table3", "--model", "tiny-discrete", "--list").stdout


def test_a_table_is_made_shown_and_written_and_made_again_from_what_is_there():
    """Table 2 on the toy: rows with numbers, three files, and the same page when it is called again."""
    first = silmm("table2", *TOY, "--json")
    answer = json.loads(first.stdout)
    rows = {row["row"]: row for row in answer["rows"]}
    assert {name for name, row in rows.items() if row["status"] == "done"} >= {
        "base", "prompt-q", "random", "ratio-of-yes", "diff-of-prob",
    }
    numbers = rows["prompt-q"]["columns"]["toy"]
    assert numbers["diff"] == pytest.approx(numbers["value"] - numbers["before"])
    assert {Path(path).name for path in answer["files"]} == {"table2.md", "table2.csv", "table2.json"}
    assert all(Path(path).is_file() for path in answer["files"])
    for run in rows["random"]["runs"]:
        assert (Path("reproduce/table2/runs") / run / "summary.json").is_file()
    page = Path("reproduce/table2/table2.md").read_text()
    again = silmm("table2", *TOY)
    assert "Table 2" in again.stdout
    assert "paper" in again.stdout
    assert "prompt-q" in again.stdout
    assert Path("reproduce/table2/table2.md").read_text() == page


def test_a_failed_row_is_told_and_ends_with_1(monkeypatch):
    """One row's error is printed with its row, the others have numbers, and the next call tries it again."""

    def score(self, answers, seed):
        raise DataError("no luck today")

    with monkeypatch.context() as patch:
        patch.setattr("silmm_plugins.scoring.scorers.RandomScore.score", score)
        failing = silmm("table2", *TOY)
    assert failing.exit_code == 1
    assert "random: failed with toy: no luck today" in failing.stdout
    assert "these rows failed: self-q, random;" in failing.stderr  # the toy decomposes nothing
    assert "failed with toy: no luck today" in Path("reproduce/table2/table2.md").read_text()
    assert "these rows failed: self-q;" in silmm("table2", *TOY).stderr


def test_other_tables_beside_it_share_their_stages():
    """In the default folder a second table takes over what the first has made; --out alone does not."""
    silmm("table2", *TOY)
    shared = silmm("fig7", *TOY, "--set", "scorer=diff-of-prob", "--json")
    assert shared.exit_code == 2  # the toy trainer has no beta: every row says so
    assert "no option 'beta'" in shared.stderr
    counted = silmm("table4", *TOY, "--json")
    data = json.loads(counted.stdout)
    assert {row["status"] for row in data["rows"]} == {"done", "not possible"}
    assert any("iter-1/train" in stages for stages in data["shared"].values())
    alone = json.loads(silmm("table4", *TOY, "--out", "elsewhere", "--json").stdout)
    assert alone["shared"] == {}


def test_without_a_name_it_asks_for_one_and_an_unknown_one_is_refused():
    """Both are wrong usage (2), and the message leads on."""
    assert silmm().exit_code == 2
    assert "--list" in silmm().stderr
    assert silmm("table9").exit_code == 2
    assert "table7" in silmm("table9").stderr


def test_a_model_that_can_do_no_row_is_wrong_usage():
    """Where not one row is possible the reasons are the error."""
    result = silmm("fig6", "--model", "tiny-discrete")
    assert result.exit_code == 2
    assert "dropdiv" in result.stderr
