"""What the one table writer promises: numbers read alike everywhere, and no text becomes markup."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest
from rich.console import Console

from silmm.rendering.result_table import (
    Cell,
    Column,
    ResultTable,
    difference_columns,
    difference_row,
    direction,
    interval,
    number,
    row,
    text_table,
)
from silmm.rendering.table_formats import escape_markdown, json_text, to_csv, to_html, to_latex, to_markdown, to_rich

EVIL = "<script>|a_b & [x](y) \\input{z} *b*"


def table(**changes):
    columns = (Column("", "left"), Column("color", higher_is_better=True))
    rows = (row("first", Cell("0.500", ("± 0.10",))), row(EVIL, "–", style="refused"))
    return ResultTable(columns, rows, **{"title": "Title", "notes": ("A note.",), **changes})


def shown(shape, **options):
    console = Console(file=io.StringIO(), width=100)
    console.print(to_rich(shape, **options))
    return console.file.getvalue()


@pytest.mark.parametrize(("value", "plain", "signed", "percent"), [
    (0.5, "0.500", "+0.500", "50.00"), (-0.0125, "-0.013", "-0.013", "-1.25"), (None, "–", "–", "–"),
    (math.nan, "–", "–", "–"), (1, "1.000", "+1.000", "100.00"),
])
def test_numbers_are_fractions_with_three_digits_or_percent_with_two(value, plain, signed, percent):
    """One rule writes every figure; what is missing or not finite is a dash."""
    assert (number(value), number(value, signed=True), number(value, percent=True)) == (plain, signed, percent)


def test_an_interval_needs_both_ends():
    """Over one prompt there is no interval, and none is made up."""
    assert interval(-0.1, 0.25, signed=True) == "[-0.100, +0.250]"
    assert interval(0.1, None) == interval(math.nan, 0.2) == "–"


@pytest.mark.parametrize(("low", "high", "arrow"), [
    (0.1, 0.2, "↑"), (-0.2, -0.1, "↓"), (-0.1, 0.2, "·"), (0.0, 0.2, "·"), (None, None, "·"), (math.nan, 0.1, "·"),
])
def test_only_an_interval_without_zero_has_an_arrow(low, high, arrow):
    """A difference whose interval touches zero points nowhere."""
    assert direction(low, high)[0] == arrow


def test_a_difference_is_one_row_everywhere():
    """Means, difference with arrow, interval and n stand in this order, in fractions or percent."""
    figures = {"before": 0.6, "after": 0.7, "diff": 0.1, "ci_low": 0.05, "ci_high": 0.15, "n": 20}
    texts = [cell.text for cell in difference_row("color", figures).cells]
    assert texts == ["color", "0.600", "0.700", "+0.100 ↑", "[+0.050, +0.150]", "20"]
    assert difference_row("color", figures, percent=True).cells[3].text == "+10.00 ↑"
    assert len(difference_columns("before", "after", "n")) == len(texts)


def test_details_stand_below_on_a_terminal_and_beside_in_text():
    """A terminal shows an interval below its number; Markdown and LaTeX on the same line."""
    lines = shown(table()).splitlines()
    first = next(index for index, line in enumerate(lines) if "0.500" in line)
    assert "± 0.10" in lines[first + 1]
    assert "| first | 0.500 ± 0.10 |" in to_markdown([table()])
    assert r"first & 0.500 $\pm$ 0.10 \\" in to_latex([table()])


def test_no_text_becomes_markup():
    """A name with every special character stays text in each format, in its own cell."""
    line = next(line for line in to_markdown([table()]).splitlines() if "script" in line)
    assert line == r"| \<script\>\|a_b & [x\](y) \\input{z} \*b\* | – |"
    assert r"\textless{}script\textgreater{}\textbar{}a\_b \& [x](y) \textbackslash{}input\{z\}" in to_latex([table()])
    page = to_html([table(title=EVIL, notes=(EVIL,))], EVIL)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 5  # page title twice, table title, cell, note
    assert EVIL in shown(table())


def test_markdown_keeps_what_is_no_markup():
    """Intervals and names of options stay readable; underscores and brackets that could be markup do not."""
    assert escape_markdown("[+0.1, +0.2] of a_b") == "[+0.1, +0.2] of a_b"
    assert escape_markdown("_a_ [x][y]\nz") == r"\_a\_ [x\][y] z"


def test_csv_holds_full_numbers_and_no_formula():
    """Programs get numbers in full and empty fields; a spreadsheet gets no formula."""
    text = to_csv(("name", "value", "note"), [{"name": "=1+1", "value": 1 / 3}, {"name": "-x", "value": None}])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["name"] for row in rows] == ["'=1+1", "'-x"]
    assert float(rows[0]["value"]) == 1 / 3
    assert (rows[1]["value"], rows[0]["note"]) == ("", "")


def test_json_refuses_what_json_cannot_hold():
    """A number that is not finite is an error, not invalid JSON."""
    assert json.loads(json_text({"a": "ä"})) == {"a": "ä"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text({"a": math.nan})


def test_a_page_needs_no_other_file():
    """The page of a table has its style in itself, in light and dark, and names no other address."""
    page = to_html([table()], "Tables")
    assert "prefers-color-scheme: dark" in page
    assert "http" not in page
    assert "src=" not in page
    assert "href=" not in page


def test_names_that_are_copied_are_not_broken():
    """A column that must not wrap keeps its texts whole on a narrow screen; the others give way."""
    wide = ResultTable(
        (Column("name", "left", wrap=False), Column("summary", "left")),
        (row("a-long-name-of-an-option", "words " * 30),),
    )
    console = Console(file=io.StringIO(), width=50)
    console.print(to_rich(wide))
    assert "a-long-name-of-an-option" in console.file.getvalue()


def test_positions_say_which_columns_are_texts():
    """Texts are set to the left, numbers to the right."""
    made = text_table(("a", "b", "c"), [("x", "1", "y")], left=(0, 2))
    assert [column.align for column in made.columns] == ["left", "right", "left"]
