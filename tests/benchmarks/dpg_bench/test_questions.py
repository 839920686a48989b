"""DPG-Bench's table is read with its counts, and what is wrong with it is named by line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from silmm_benchmarks.benchmark_options import DpgBenchOptions
from silmm_benchmarks.data.text import LONGEST_PROMPT
from silmm_benchmarks.dpg_bench.benchmark import DpgBench
from silmm_benchmarks.dpg_bench.official_data import FILES, QUESTIONS
from silmm_benchmarks.dpg_bench.questions import PROMPTS, circular, load_items, read_prompts

from silmm.errors import DataError, UsageError
from silmm.storage.sha256_cache import sha256_file
from tests.conftest import OfficialData

HEADER = (
    "item_id,text,keywords,proposition_id,dependency,category_broad,category_detailed,tuple,"
    "question_natural_language\n"
)


def _line(item: str, number: object = 1, parents: object = 0, **changes: str) -> str:
    fields = {
        "item": item, "text": f"prompt of {item}", "number": str(number), "parents": f'"{parents}"',
        "tuple": "entity - whole (dog)", "question": "Is there a dog?",
    } | changes  # fmt: skip
    return (
        f"{fields['item']},{fields['text']},dog,{fields['number']},{fields['parents']},entity,whole,"
        f"{fields['tuple']},{fields['question']}\n"
    )


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Write a table of these lines."""

    def make(*lines: str, header: str = HEADER) -> Path:
        path = tmp_path / QUESTIONS
        path.write_bytes((header + "".join(lines)).encode())
        return path

    return make


def test_questions_come_with_parents_and_categories(table: Callable[..., Path]) -> None:
    """Rows of an item stand together in file order; 0 is no parent; only the very first row is marked."""
    path = table(
        _line("a"), _line("a", 2, "1", tuple='"attribute - color (dog, red)"'), _line("b", 1, "0, 0"),
        _line("b", 2, "0"), _line("b", 3, "1, 2"),
    )  # fmt: skip
    first, second = load_items(path, official=False)
    assert (first.id, first.prompt, first.category, first.images) == ("a", "prompt of a", "", 4)
    assert first.details["questions"] == [
        {"id": 1, "parents": [], "category": "entity - whole", "text": "Is there a dog?", "first_row": True},
        {"id": 2, "parents": [1], "category": "attribute - color", "text": "Is there a dog?",
         "first_row": False},
    ]  # fmt: skip
    assert [row["parents"] for row in second.details["questions"]] == [[], [], [1, 2]]
    assert not any(row["first_row"] for row in second.details["questions"])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([_line("a", 1, "right")], "line 2: dependency is 'right'"),
        ([_line("a"), _line("a", 2, "1,")], "line 3: dependency is '1,'"),
        ([_line("a"), _line("a", 2, "-1")], "line 3: dependency is '-1'"),
        ([_line("a"), _line("a", 2, "")], "line 3: dependency is ''"),
        ([_line("a", "x")], "line 2: proposition_id is 'x'"),
        ([_line("a", 0)], "line 2: proposition_id is '0'"),
        ([_line("a"), _line("a", 1)], "line 3: 'a' has two questions 1"),
        ([_line("a"), _line("b"), _line("a", 2)], "line 4: the id 'a' comes again"),
        ([_line("a"), _line("a", 2, text="other")], "line 3: 'a' has another prompt"),
        ([_line("a"), _line("a", 2, "3")], "line 3: depends on a question that 'a' does not have"),
        ([_line("a", 1, 2), _line("a", 2, 1)], "line 2: depends on itself through other questions of 'a'"),
        ([_line("../a")], "line 2: the id '../a' cannot be an image's file name"),
        ([_line("a/b")], "line 2: the id 'a/b'"),
        ([_line("a.b")], "line 2: the id 'a.b' has a dot"),
        ([_line("a", question=" ")], "line 2: the question is ' '"),
        ([_line("a", text="x" * (LONGEST_PROMPT + 1))], "line 2: the prompt has 10001 characters"),
        ([_line("a", text="x" * 200_000)], "line 2: broken CSV (field larger than field limit"),
        ([_line("a"), "b,only two\n"], "line 3: not one field per column"),
        ([_line("a").rstrip() + ",more\n"], "line 2: not one field per column"),
        (['a,"unfinished,dog\n'], "line 2: broken CSV"),
        ([], "holds no question"),
    ],
)
def test_a_bad_row_is_named_by_line(table: Callable[..., Path], lines: list[str], message: str) -> None:
    """Every malformed row is an error that names its line and what is wrong."""
    with pytest.raises(DataError) as error:
        load_items(table(*lines), official=False)
    assert message in str(error.value)


def test_a_table_with_other_columns_is_refused(table: Callable[..., Path]) -> None:
    """A file of another kind is told by the column that it lacks."""
    with pytest.raises(DataError, match="names no column 'item_id'"):
        load_items(table("a,b\n", header="x,y\n"), official=False)


def test_other_counts_than_the_official_ones_are_refused(table: Callable[..., Path]) -> None:
    """A table of one prompt is not DPG-Bench, and the message tells both counts."""
    with pytest.raises(DataError, match=r"1065 prompts, but .* has 1"):
        load_items(table(_line("a")))


def test_the_official_questions_are_taken_as_they_are(table: Callable[..., Path]) -> None:
    """A circle in a table of the official size is kept, since official scores exist; elsewhere it stops."""
    lines = [_line(f"p{n}") for n in range(PROMPTS - 1)] + [_line("z", 1, 2), _line("z", 2, 1)]
    items = load_items(table(*lines))
    assert len(items) == PROMPTS
    assert circular(items[-1].details["questions"]) == [1, 2]


def test_a_question_that_names_itself_is_no_circle(table: Callable[..., Path]) -> None:
    """Self-dependence, common in such tables, changes no score; what hangs below is no circle."""
    (item,) = load_items(table(_line("a", 1, 1), _line("a", 2, "1,2")), official=False)
    assert circular(item.details["questions"]) == []
    loop = [{"id": 1, "parents": [2]}, {"id": 2, "parents": [1]}, {"id": 3, "parents": [1]}]
    assert circular(loop) == [1, 2]


def test_unicode_prompts_are_kept(table: Callable[..., Path]) -> None:
    """Prompts in any script, with quotes, commas and line breaks, come through unchanged."""
    (item,) = load_items(table(_line("a", text='"猫, ""née""\r\n🐈"')), official=False)
    assert item.prompt == '猫, "née"\r\n🐈'


def test_prompt_files_replace_the_tables_texts(table: Callable[..., Path], tmp_path: Path) -> None:
    """The official prompts are those of the text files; ids that differ between both are named."""
    table(_line("a"), _line("b"))
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "a.txt").write_text("the long prompt\n", encoding="utf-8")
    benchmark = DpgBench(DpgBenchOptions(custom=True))
    with pytest.raises(DataError, match="'b' has no prompt file"):
        benchmark.items(tmp_path)
    (tmp_path / "prompts" / "b.txt").write_text("other", encoding="utf-8")
    assert [item.prompt for item in benchmark.items(tmp_path)] == ["the long prompt", "other"]
    assert benchmark.fingerprint(tmp_path).keys() == {QUESTIONS, "prompts"}
    before = benchmark.fingerprint(tmp_path)["prompts"]
    (tmp_path / "prompts" / "b.txt").write_text("another", encoding="utf-8")
    assert benchmark.fingerprint(tmp_path)["prompts"] != before
    with pytest.raises(UsageError, match="leave --categories out"):
        benchmark.items(tmp_path, ["entity"])


def test_dsg_is_read_until_its_known_defects(official_data: OfficialData) -> None:
    """DSG's table has the same columns; its rows with words for numbers are told, not crashed on."""
    with pytest.raises(DataError, match=r"line 185: dependency is '5, right'"):
        load_items(official_data("dsg/dsg-1k-anns.csv"), official=False)


def test_the_official_prompts(official_data: OfficialData) -> None:
    """The 1,065 official prompts are read, and hash and size of each is what `silmm data pull` expects."""
    folder = official_data("dpg-bench/prompts")
    prompts = read_prompts(folder)
    assert len(prompts) == len(set(prompts.values())) == PROMPTS
    assert sum(not text.isascii() for text in prompts.values()) == 27
    listed: dict[str, Any] = {file.name: file for file in FILES}
    assert len(listed) == PROMPTS + 1
    for key in prompts:
        path = folder / f"{key}.txt"
        expected = listed[f"prompts/{key}.txt"]
        assert (expected.sha256, expected.size) == (sha256_file(path), path.stat().st_size)
