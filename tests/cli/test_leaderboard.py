"""What `silmm leaderboard` promises: fair ranks, reasons for the rest, the paper's rows, no markup."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from contextlib import suppress
from html.parser import HTMLParser

import pyarrow as pa
import pytest
from click.testing import CliRunner
from rich.console import Console

from silmm.bench.leaderboard.board_formats import FORMATS, footnotes
from silmm.bench.leaderboard.comparing import compare_results
from silmm.bench.leaderboard.published import COLUMNS, TABLE1
from silmm.bench.leaderboard.ranking import boards, difference
from silmm.bench.leaderboard.results import FORMAT, KIND, SEAL, find_results, read_result, seal
from silmm.errors import DataError, UsageError
from silmm.storage.json_files import to_json
from silmm.storage.tables import to_parquet
from silmm_cli import main
from silmm_cli.leaderboard_cmd import print_boards
from tests.conftest import REPOSITORY

NASTY = "<script>alert('x')</script>|a_b [red]$\\input{x}$"
PROMPTS = pa.schema([("item", pa.string()), ("column", pa.string()), ("value", pa.float64())])


@pytest.fixture
def write(tmp_path):
    """Write a result file of DPG-Bench as the runner does, from a name and per-prompt values."""

    def written(model, values, *, marks=(), judge="a", steps=30, benchmark="dpg-bench", canaries=None,
                mode="official"):
        rows = [{"item": f"p{i}", "column": "Overall", "value": v} for i, v in enumerate(values)]
        table = to_parquet(pa.Table.from_pylist(rows, schema=PROMPTS))
        mean = sum(values) / len(values)
        name = hashlib.sha256(repr((model, judge, mode)).encode()).hexdigest()[:12]
        (tmp_path / f"{name}.prompts.parquet").write_bytes(table)
        scoring = {"benchmark": benchmark, "mode": mode, "prompts": len(values),
                   "judges": {"vqa": {"judge": "mplug", "weights_sha256": judge}}}
        column = {"name": "Overall", "value": mean, "low": mean - 0.01, "high": mean + 0.01,
                  "prompts": len(values), "images": 4 * len(values), "note": "", "detail": False}
        empty = {**column, "name": "Relation", "value": None, "low": None, "high": None, "note": "no judge"}
        path = tmp_path / f"{name}.json"
        content = {
            "kind": KIND, "format": FORMAT, "benchmark": benchmark, "title": "DPG-Bench", "mode": mode,
            "model": {"name": model}, "marks": list(marks), "left_out": [],
            "canaries_failed": canaries or {}, "columns": [column, empty],
            "card": {"scoring": scoring, "sampling": {"steps": steps}, "sha256": "0" * 64},
            "tables": {"prompts": {"file": f"{name}.prompts.parquet",
                                   "sha256": hashlib.sha256(table).hexdigest()}},
        }
        path.write_bytes(to_json({**content, SEAL: seal(content)}))
        return path

    return written


def measured(board):
    return {line.name: line for line in board.lines if not line.published}


def test_equal_cards_are_ranked_by_the_headline(write):
    """The better overall score is first; equal scores share a rank."""
    paths = [write("low", [0.2, 0.4]), write("high", [0.8, 0.6]), write("same", [0.6, 0.8])]
    (board,) = boards([read_result(path) for path in paths])
    assert {name: line.rank for name, line in measured(board).items()} == {"high": 1, "same": 1, "low": 3}
    assert board.headline == "Overall"


@pytest.mark.parametrize(("changes", "reason"), [
    ({"marks": ["subset: 8 prompts (--limit 8)"]}, "subset: 8 prompts"),
    ({"marks": ["partial: 3 missing (--allow-missing)"]}, "partial: 3 missing"),
    ({"judge": "b"}, "judges.vqa.weights_sha256: b / a"),
    ({"canaries": {"vqa": ["blank: said yes"]}}, "fail canaries: vqa"),
])
def test_what_is_no_fair_comparison_is_not_ranked_and_says_why(write, changes, reason):
    """A subset, a partial result, another card or a failed canary stays in the table without a rank."""
    paths = [write("one", [0.5]), write("two", [0.6]), write("odd", [0.9], **changes)]
    (board,) = boards([read_result(path) for path in paths])
    odd = measured(board)["odd"]
    assert odd.rank is None
    assert reason in odd.why_not
    assert {measured(board)[name].rank for name in ("one", "two")} == {1, 2}


def test_other_sampling_is_told_but_ranked(write):
    """Other steps do not forbid a rank; the difference is named below the table."""
    results = [read_result(write("one", [0.5])), read_result(write("two", [0.6], steps=50))]
    (board,) = boards(results)
    assert {line.rank for line in measured(board).values()} == {1, 2}
    assert "steps: 30 / 50" in board.remarks[0]


def test_modes_never_share_a_board(write):
    """Official and fixed numbers stand in tables of their own."""
    results = [read_result(write("one", [0.5])), read_result(write("one", [0.6], mode="fixed"))]
    assert [board.mode for board in boards(results)] == ["official", "fixed"]


def test_the_papers_rows_stand_above_marked_as_published(write):
    """Table 1's numbers of the benchmark are there, without rank, with their source."""
    (board,) = boards([read_result(write("mine", [0.5]))])
    published = {line.name: line for line in board.lines if line.published}
    assert published["DALL-E 3"].cells["Overall"].value == pytest.approx(0.8350)
    assert published["Emu3 + SILMM"].cells["Relation"].value == pytest.approx(0.8901)
    assert all(line.rank is None for line in published.values())
    assert "SD-v2.1" not in published  # the paper prints no DPG-Bench number of it
    assert "arXiv 2412.05818, Table 1" in FORMATS["md"]([board])


def test_the_printed_table_is_the_papers():
    """Every number of the built-in rows stands in the paper's Table 1, row by row."""
    text = (REPOSITORY / "docs" / "spec" / "method.md").read_text()
    rows = [
        [cell.strip() for cell in line.strip("|\n ").split("|")]
        for line in text.split("Table 1.")[1].split("Table 2")[0].splitlines() if line.startswith("|")
    ][2:]
    assert len(rows) == len(TABLE1) == 13
    for cells, row in zip(rows, TABLE1, strict=True):
        numbers = [None if cell == "-" else float(cell) for cell in cells[1:]]
        assert [*row.numbers["t2i-compbench"], *row.numbers["dpg-bench"], *row.numbers["tifa"]] == numbers
        assert row.method.endswith(cells[0].removeprefix("+ "))
    assert [len(COLUMNS[name]) for name in ("t2i-compbench", "dpg-bench", "tifa")] == [4, 6, 1]


class Scripts(HTMLParser):
    """Collects the tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)


def test_names_of_models_are_nobodys_markup(write):
    """Whatever a result is called, no format lets it become a tag, a table cell, a command or a style."""
    actual = boards([read_result(write(NASTY, [0.5]))])
    page = Scripts()
    page.feed(FORMATS["html"](actual))
    assert page.tags == {"html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "div", "table", "thead",
                         "tbody", "tr", "th", "td", "span", "ul", "li"}
    row = next(line for line in FORMATS["md"](actual).splitlines() if "script" in line)
    head = next(line for line in FORMATS["md"](actual).splitlines() if line.startswith("| "))
    assert len(re.findall(r"(?<!\\)\|", row)) == head.count("|")
    latex = [line for line in FORMATS["latex"](actual).splitlines() if not line.startswith("%")]
    row = next(line for line in latex if "script" in line)
    assert "\\textbackslash{}input\\{x\\}" in row
    assert "a\\_b" in row
    console = Console(file=io.StringIO(), width=120)
    print_boards(actual, console)
    assert "[red]" in "".join(console.file.getvalue().split())


def test_csv_and_json_hold_full_numbers(write):
    """Programs get fractions in full, ranks and reasons; spreadsheets get no formula."""
    actual = boards([read_result(write("=1+1", [1 / 3])), read_result(write("b", [0.5], marks=["subset: x"]))])
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](actual))))
    own = next(row for row in rows if row["model"] == "'=1+1" and row["column"] == "Overall")
    assert float(own["value"]) == pytest.approx(1 / 3, abs=1e-15)
    assert {row["why_not"] for row in rows if row["model"] == "b"} == {"subset: x"}
    (board,) = json.loads(FORMATS["json"](actual))
    assert {line["name"] for line in board["lines"] if not line["published"]} == {"=1+1", "b"}


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_the_screen(write, width):
    """No line is wider than the screen, and every number stands unbroken."""
    console = Console(file=io.StringIO(), width=width)
    print_boards(boards([read_result(write("diffusers:stabilityai/stable-diffusion-2-1", [0.5]))]), console)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert any("50.00" in line for line in lines)
    assert any("83.50" in line for line in lines)


def test_compare_pairs_prompts_and_gives_the_interval(write):
    """The difference is over the shared prompts, second minus first, with a bootstrap interval."""
    (actual,) = compare_results(
        [read_result(write("a", [0.1, 0.2, 0.3]))], [read_result(write("b", [0.2, 0.4, 0.3, 0.9]))]
    )
    paired = actual.columns["Overall"]
    assert (paired.n, round(paired.diff, 12)) == (3, 0.1)
    assert paired.ci_low <= paired.diff <= paired.ci_high
    assert "1 prompts are in one result only" in actual.warnings[0]


def test_compare_tells_failed_canaries(write):
    """A difference of numbers that nobody should trust says so."""
    sound, odd = write("a", [0.1]), write("b", [0.2], canaries={"vqa": ["blank: said yes"]})
    (actual,) = compare_results([read_result(sound)], [read_result(odd)])
    assert actual.warnings == ("b: the judge for vqa fails canaries: blank: said yes",)


def test_compare_refuses_other_protocols(write):
    """Two judges are no comparison; the message says which field differs."""
    with pytest.raises(UsageError, match=r"judges\.vqa\.weights_sha256: a / b"):
        compare_results([read_result(write("a", [0.1]))], [read_result(write("b", [0.2], judge="b"))])
    with pytest.raises(UsageError, match="no benchmark in common"):
        compare_results(
            [read_result(write("a", [0.1]))], [read_result(write("b", [0.2], benchmark="tifa"))]
        )


def test_a_table_of_another_result_is_noticed(write, tmp_path):
    """A comparison never reads a table that was not written with its result."""
    path = write("a", [0.1, 0.2])
    table = tmp_path / json.loads(path.read_text())["tables"]["prompts"]["file"]
    table.write_bytes(table.read_bytes() + b"x")
    with pytest.raises(DataError, match="not the table"):
        compare_results([read_result(path)], [read_result(path)])


@pytest.mark.parametrize(("content", "message"), [
    ("{}", "no result"), ("[1]", "no JSON object"), ("{", "not valid JSON"),
    (json.dumps({"kind": KIND, "format": 99}), "format 99"),
    (json.dumps({"kind": KIND, "format": 1}), "another SHA-256"),
    (to_json({"kind": KIND, "format": 1, SEAL: seal({"kind": KIND, "format": 1})}).decode(), "card"),
    ('{"a": ' * 100_000, "not valid JSON"),
])
def test_files_that_are_no_results_are_told(tmp_path, content, message):
    """Foreign, broken and newer files are data errors that name the file."""
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        read_result(path)
    assert "x.json" in str(caught.value)


@pytest.mark.parametrize("change", [
    lambda content: content["columns"][0].update(value=0.99),
    lambda content: content["card"]["scoring"]["judges"]["vqa"].update(weights_sha256="b"),
    lambda content: content.update(marks=[]),
], ids=["number", "card", "marks"])
def test_a_result_that_was_edited_is_refused(write, change):
    """A number, a card or a mark that was changed by hand keeps the whole file off the leaderboard."""
    path = write("mine", [0.5], marks=["subset: 1 prompt"])
    content = json.loads(path.read_text())
    change(content)
    path.write_bytes(to_json(content))
    with pytest.raises(DataError, match="another SHA-256"):
        find_results([path])


@pytest.mark.parametrize("number", ["NaN", "Infinity", "99.5", '"half"', "true and more"])
def test_a_number_that_no_column_can_have_is_refused(write, number):
    """NaN, percent in place of fractions and words are data errors, whatever hash the file has."""
    path = write("mine", [0.5])
    path.write_text(path.read_text().replace('"value": 0.5', f'"value": {number}'))
    with suppress(ValueError):
        content = json.loads(path.read_text())
        path.write_bytes(to_json({**content, SEAL: seal(content)}))
    with pytest.raises(DataError, match=path.name):
        read_result(path)


def test_names_move_no_cursor(write):
    """Escape sequences and line ends in a result's name are shown, not obeyed, in every format."""
    actual = boards([read_result(write("a\x1b[2Jb\nc\u202ed", [0.5]))])
    console = Console(file=io.StringIO(), width=120)
    print_boards(actual, console)
    for text in (console.file.getvalue(), *(form(actual) for form in FORMATS.values())):
        assert not {"\x1b", "\u202e"}.intersection(text)
        assert "2Jb" in text


def test_a_result_given_twice_stands_once(write, tmp_path):
    """A file that its folder holds too is one row, not two with ranks of their own."""
    path = write("mine", [0.5])
    assert len(find_results([path, tmp_path, path])) == 1


def test_compare_asks_which_of_several_results_is_meant(write, tmp_path):
    """Of a folder's results the full one is compared; two full ones are an error that names both."""
    full, other = write("a", [0.1, 0.2]), write("b", [0.2, 0.4])
    part = write("part", [0.9], marks=["subset: 1 prompt"])
    several = [read_result(path) for path in (part, full)]
    (actual,) = compare_results(several, [read_result(other)])
    assert actual.first.model == "a"
    with pytest.raises(UsageError, match=f"several results[\\s\\S]*{other.name}"):
        compare_results([read_result(full), read_result(other)], several)


def test_a_note_that_all_results_have_is_told_once(write):
    """What two results share stands below the table once, and a result alone is told why it has no rank."""
    both = footnotes(boards([read_result(write("a", [0.1])), read_result(write("b", [0.2]))])[0])
    assert [note for note in both if "no judge" in note] == ["no judge (Relation)"]
    alone = footnotes(boards([read_result(write("a", [0.1]))])[0])
    assert "a: no judge (Relation)" in alone
    assert any(note.startswith("a has no rank: ") for note in alone)


def test_a_folder_stands_for_its_results(write, tmp_path):
    """All results that lie in a folder are read, other files are passed over, an empty one is an error."""
    write("a", [0.1])
    write("b", [0.2])
    (tmp_path / "other.json").write_text("{}")
    assert len(find_results([tmp_path])) == 2
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="holds no result"):
        find_results([tmp_path / "none"])


def test_differences_name_nested_fields():
    """A field that only one card has is told as well."""
    assert difference({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}}) == ["a.b: 1 / 3", "c: 2 / nothing"]
    assert difference({"a": 1}, {"a": 1}) == []


@pytest.mark.parametrize("form", ["rich", *FORMATS])
def test_every_format_of_the_command_works(write, form):
    """The command prints each format to stdout; data errors exit with 4."""
    done = CliRunner().invoke(main, ["leaderboard", str(write("mine", [0.5])), "--format", form])
    assert done.exit_code == 0, done.stderr
    assert "mine" in done.stdout
    assert CliRunner().invoke(main, ["leaderboard", "nowhere.json"]).exit_code == 4
