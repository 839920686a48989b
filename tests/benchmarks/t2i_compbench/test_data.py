"""Prompt files are read as they are, and refused with file and line where they cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from silmm_benchmarks.benchmark_options import OfficialOptions
from silmm_benchmarks.t2i_compbench.benchmark import T2ICompBench
from silmm_benchmarks.t2i_compbench.official_data import FILES
from silmm_benchmarks.t2i_compbench.prompts.prompt_files import CATEGORIES, files_read

from silmm.errors import DataError, UsageError
from silmm.storage.sha256_cache import sha256_file
from tests.conftest import OfficialData


def test_the_official_files_have_the_recorded_facts(official_data: OfficialData) -> None:
    """Names, sizes and hashes of the eleven files are those of the public home."""
    data = official_data("t2i-compbench")
    for file in FILES:
        assert (data / file.name).stat().st_size == file.size
        assert sha256_file(data / file.name) == file.sha256
    assert {file.name for file in FILES} == {name for category in CATEGORIES for name in files_read(category)}
    assert T2ICompBench().fingerprint(data) == {file.name: file.sha256 for file in FILES}


def test_official_items(official_data: OfficialData) -> None:
    """2,400 items with unique ids in the official order, ten images each, parsed by the table alone."""
    benchmark = T2ICompBench()
    items = benchmark.items(official_data("t2i-compbench"))
    assert len(items) == len({item.id for item in items}) == 2400
    assert [item.category for item in items[::300]] == list(CATEGORIES)
    assert all(item.images == 10 for item in items)
    assert "table" in benchmark.protocol()["parser"] and " and " not in benchmark.protocol()["parser"]
    assert not any("failed" in item.details for item in items)


def test_other_counts_are_refused_unless_asked_for(data: Path) -> None:
    """Two prompts are not the benchmark; as own prompts they are read."""
    with pytest.raises(DataError, match=r"color_val\.txt has 2 prompts instead of 300"):
        T2ICompBench().items(data, ["color"])
    items = T2ICompBench(OfficialOptions(custom=True)).items(data, ["numeracy"])
    assert [item.details["wanted"] for item in items] == [[["dog", 2], ["cat", 1]]]


def test_own_prompts_may_have_fewer_categories(data: Path) -> None:
    """Without categories, those that have a file are read; the protocol says that they are own ones."""
    pytest.importorskip("spacy")
    benchmark = T2ICompBench(OfficialOptions(custom=True))
    items = benchmark.items(data)
    assert [item.id for item in items if item.category == "complex"] == ["complex/0000", "complex/0001"]
    assert [item.details["group"] for item in items if item.category == "complex"] == ["spatial", "action"]
    assert benchmark.protocol()["split"] == "custom"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a dog\na/../b", r"line 2: the prompt holds '/'"),
        ("a dog_000001.png", r"line 1: the prompt holds '_'"),
        ("a dog\na\x07cat", r"line 2: the prompt holds '\\x07'"),
        ("a dog\n\na cat", r"line 2: the prompt is ''"),
        ("a dog\na cat\na dog", r"line 3: the prompt repeats line 1"),
        ("a " + "very " * 60 + "long prompt", r"line 1: the prompt has \d+ bytes"),
        ("ü" * 130, r"line 1: the prompt has 260 bytes"),
        ("", "holds no prompts"),
    ],
)
def test_prompts_that_cannot_name_a_image_are_refused(data: Path, content: str, message: str) -> None:
    """Paths, separators, control signs, blank lines, repetitions and long prompts name file and line."""
    (data / "color_val.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        T2ICompBench(OfficialOptions(custom=True)).items(data, ["color"])


def test_broken_files_are_refused(data: Path) -> None:
    """Bytes that are no text, a line of another form and a missing file are told by name."""
    (data / "color_val.txt").write_bytes(b"a dog\xff")
    with pytest.raises(DataError, match=r"color_val\.txt is not UTF-8"):
        T2ICompBench(OfficialOptions(custom=True)).items(data, ["color"])
    (data / "new_objects.txt").write_text("dog - dogs\ncat cats\n")
    with pytest.raises(DataError, match=r"new_objects\.txt, line 2"):
        T2ICompBench(OfficialOptions(custom=True)).items(data, ["numeracy"])
    with pytest.raises(DataError, match=r"shape_val\.txt cannot be read"):
        T2ICompBench(OfficialOptions(custom=True)).items(data, ["shape"])


def test_an_unknown_category_is_refused(data: Path) -> None:
    """A misspelt category is answered with the nearest one."""
    with pytest.raises(UsageError, match="did you mean 'color'"):
        T2ICompBench(OfficialOptions(custom=True)).items(data, ["colour"])


def test_a_prompt_that_a_rule_cannot_read_fails_alone(data: Path) -> None:
    """A number before a singular, where the official script stops, leaves out that prompt with its reason."""
    (data / "numeracy_val.txt").write_text("two dog\ntwo dogs")
    first, second = T2ICompBench(OfficialOptions(custom=True)).items(data, ["numeracy"])
    assert "'two' stands before the singular 'dog'" in first.details["failed"]
    assert "failed" not in second.details
