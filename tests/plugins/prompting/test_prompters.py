"""Promises of step 1: prompts of the model's own words, balanced, distinct, reproducible."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from silmm_plugins.prompting.file_prompter import FileOptions, FilePrompter
from silmm_plugins.prompting.self_prompter import SelfOptions, SelfPrompter
from silmm_plugins.prompting.templates import relation_kind
from silmm_plugins.text.english import article, counted, number_word, plural

from silmm.contracts.candidates import Prompt
from silmm.contracts.options import Given, complete
from silmm.errors import DataError, UsageError
from tests.toy.talker import LISTS, Talker
from tests.toy.tiny_random import TinyRandom

TOY = SelfOptions(objects=("shapes",), relations=("relations",))


def nothing(prompt: str) -> bool:
    return False


def written(count: int = 96, seed: int = 0, options: SelfOptions = TOY) -> list[Prompt]:
    return list(SelfPrompter(options).write(Talker(), count, seed, nothing).prompts)


def test_the_four_categories_have_equal_shares() -> None:
    """96 prompts: 24 of each category, with the names of T2I-CompBench++."""
    actual = Counter(prompt.category for prompt in written())
    assert actual["color"] + actual["shape"] + actual["texture"] == 24
    assert actual["spatial"] + actual["3d_spatial"] + actual["numeracy"] == 24
    assert (actual["non_spatial"], actual["complex"]) == (24, 24)
    assert min(actual.values()) >= 7


def test_prompts_are_distinct_and_mixed() -> None:
    """No prompt comes twice, and the categories do not come in blocks."""
    prompts = written()
    assert len({prompt.text for prompt in prompts}) == 96
    assert len({prompt.category for prompt in prompts[:24]}) > 4


def test_prompts_are_a_function_of_the_seed() -> None:
    """The same seed writes the same prompts in the same order; another seed others."""
    assert written(seed=3) == written(seed=3)
    assert written(seed=3) != written(seed=4)


def test_templates_are_filled_with_the_models_own_words_alone() -> None:
    """Attribute and layout prompts hold listed words, articles, "and" and plurals, nothing else."""
    listed = {word for words in LISTS.values() for item in words for word in item.split()}
    vocabulary = listed | {"a", "an", "and"} | {plural(noun) for noun in LISTS["shapes"]}
    for prompt in written():
        assert set(prompt.text.split()) <= vocabulary, prompt


def test_articles_and_plurals_are_right_in_prompts() -> None:
    """ "an orange …", never "a orange"; "one cross" and "two crosses"."""
    texts = " | ".join(p.text for p in written(200) if p.category not in ("non_spatial", "complex"))
    assert "an orange" in texts
    assert "a orange" not in texts
    assert "crosses" in texts
    assert "one crosses" not in texts
    assert "two cross " not in texts


def test_nouns_that_are_shapes_carry_the_shape_themselves() -> None:
    """Where objects are shapes, the shape category pairs bare nouns: "a circle and a square"."""
    shapes = [p.text for p in written() if p.category == "shape"]
    allowed = {f"{article(a)} and {article(b)}" for a in LISTS["shapes"] for b in LISTS["shapes"] if a != b}
    assert shapes
    assert set(shapes) <= allowed


def test_relations_are_sorted_into_2d_and_3d() -> None:
    """Depth words are 3D, left or above 2D, and what is neither is not used in layouts."""
    assert relation_kind("in front of") == relation_kind("hidden by") == "3d_spatial"
    assert relation_kind("on the left of") == relation_kind("next to") == "spatial"
    assert relation_kind("touching") is None
    layouts = [p.text for p in written() if p.category in ("spatial", "3d_spatial")]
    assert layouts
    assert not any("touching" in text for text in layouts)


def test_excluded_prompts_are_left_out_and_counted() -> None:
    """A held-out prompt never comes back, and the report can say how many there were."""
    result = SelfPrompter(TOY).write(Talker(), 60, 0, lambda prompt: "red" in prompt)
    assert len(result.prompts) == 60
    assert not any("red" in prompt.text for prompt in result.prompts)
    assert result.rejected["excluded"] > 0


def test_malformed_writing_is_thrown_away_and_its_share_moves() -> None:
    """A model that writes no usable sentence still gives template prompts; the loss is counted."""
    model = Talker()
    model.writes_badly = True
    result = SelfPrompter(TOY).write(model, 40, 0, nothing)
    assert len(result.prompts) == 40
    assert result.rejected["malformed"] >= 300
    assert result.rejected["semantic ran dry"] == result.rejected["complex ran dry"] == 1


def test_a_model_without_words_is_an_error_with_counts() -> None:
    """Unusable answers end in a DataError that says how many prompts there were."""
    model = Talker()
    model.writes_badly = True
    with pytest.raises(DataError, match=r"supplied 0 of 10 distinct prompts .*malformed"):
        SelfPrompter(SelfOptions(objects=("gadgets",), relations=())).write(model, 10, 0, nothing)


def test_more_than_the_model_knows_is_an_error() -> None:
    """Asking for more distinct prompts than there are ends, with the number that there are."""
    options = TOY.model_copy(update={"categories": ("attribute",), "attributes": ("shapes",)})
    with pytest.raises(DataError, match="supplied 12 of 50"):
        SelfPrompter(options).write(Talker(), 50, 0, nothing)


def test_lists_are_pooled_over_turns() -> None:
    """Each answer leaves a word out; several turns together find them all."""
    concepts = SelfPrompter(TOY).concepts(Talker(), 0)
    assert set(concepts.nouns) == set(LISTS["shapes"])
    assert set(concepts.attributes["color"]) == set(LISTS["colors"])
    assert set(concepts.numbers) == set(LISTS["numbers"])
    assert concepts.bare == {"shape"}


def test_every_request_carries_its_task_and_a_seed_of_its_own() -> None:
    """Requests hold a task and an instruction, and no two sampled turns share a seed."""
    model = Talker()
    SelfPrompter(TOY).write(model, 24, 0, nothing)
    assert {request.task for request in model.requests} == {"list", "write"}
    assert all(request.instruction for request in model.requests)
    assert len({request.seed for request in model.requests}) == len(model.requests)


def test_an_untrained_model_goes_through_the_same_code() -> None:
    """Random words give few or no lists, and the prompter ends either way."""
    options = TOY.model_copy(update={"patience": 20})
    result = SelfPrompter(options).write(TinyRandom(), 6, 0, nothing)
    assert len(result.prompts) == 6


def test_an_unknown_category_is_refused() -> None:
    """A misspelt category is a usage error as soon as the option is read, and it tells the right ones."""
    settings = {"categories": Given(["layouts"], "--set")}
    with pytest.raises(UsageError, match=r"layouts.*'layout'"):
        complete(SelfOptions, "prompter 'self'", settings)


def test_what_the_model_cannot_read_is_not_written() -> None:
    """Self-written prompts that the model itself cannot read are sampled anew and counted."""

    class Colorblind(Talker):
        def reads(self, prompt: str) -> bool:
            return "red" not in prompt

    result = SelfPrompter(TOY).write(Colorblind(), 40, 0, nothing)
    assert len(result.prompts) == 40
    assert not any("red" in prompt.text for prompt in result.prompts)
    assert result.rejected["unreadable"] > 0


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("circle", "circles"),
        ("cross", "crosses"),
        ("box", "boxes"),
        ("baby", "babies"),
        ("boy", "boys"),
        ("knife", "knives"),
        ("fire truck", "fire trucks"),
        ("sheep", "sheep"),
    ],
)
def test_plurals(noun: str, expected: str) -> None:
    """The last word of a noun phrase takes the plural."""
    assert plural(noun) == expected


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("apple", "an apple"),
        ("unicorn", "a unicorn"),
        ("hour glass", "an hour glass"),
        ("one eyed cat", "a one eyed cat"),
        ("umbrella", "an umbrella"),
        ("unidentified object", "an unidentified object"),
        ("unimportant cat", "an unimportant cat"),
        ("jeans", "a pair of jeans"),
    ],
)
def test_articles(phrase: str, expected: str) -> None:
    """The article follows the sound, not the letter."""
    assert article(phrase) == expected


def test_numbers_agree() -> None:
    """One is singular, all others plural; numerals become words, anything else is no number."""
    assert counted("one", "cross") == "one cross"
    assert counted("three", "cross") == "three crosses"
    assert (number_word("3"), number_word("Two"), number_word("many")) == ("three", "two", None)


def file_prompts(path: Path, count: int = 2) -> list[Prompt]:
    prompter = FilePrompter(FileOptions(path=str(path)))
    return list(prompter.write(TinyRandom(), count, 0, nothing).prompts)


def test_text_lines_json_lines_and_parquet_say_the_same(tmp_path: Path) -> None:
    """The three formats give the same prompts in the file's order; categories are kept."""
    texts = ["a red circle", "two dogs"]
    (tmp_path / "p.txt").write_text("a red circle\n\n two dogs \n")
    lines = [json.dumps({"prompt": text, "category": "mine"}) for text in texts]
    (tmp_path / "p.jsonl").write_text("\n".join(lines))
    pq.write_table(pa.table({"prompt": texts, "category": ["mine", None]}), tmp_path / "p.parquet")
    assert [p.text for p in file_prompts(tmp_path / "p.txt")] == texts
    assert file_prompts(tmp_path / "p.jsonl") == [Prompt(text, "mine") for text in texts]
    assert file_prompts(tmp_path / "p.parquet") == [
        Prompt(texts[0], "mine"),
        Prompt(texts[1], "file"),
    ]


def test_the_file_is_cleaned_and_counted(tmp_path: Path) -> None:
    """Duplicates, held-out and unreadable prompts and lines without words are left out and counted."""

    class NoUnicorns(TinyRandom):
        def reads(self, prompt: str) -> bool:
            return "unicorn" not in prompt

    (tmp_path / "p.txt").write_text("a cat\nA cat\n***\na held out dog\na unicorn\na bird\n")
    prompter = FilePrompter(FileOptions(path=str(tmp_path / "p.txt")))
    result = prompter.write(NoUnicorns(), 2, 0, lambda prompt: "held" in prompt)
    assert [p.text for p in result.prompts] == ["a cat", "a bird"]
    assert result.rejected == {"duplicate": 1, "excluded": 1, "malformed": 1, "unreadable": 1}


def test_count_limits_the_file(tmp_path: Path) -> None:
    """The first N usable prompts are taken; a file with fewer is an error that says so."""
    (tmp_path / "p.txt").write_text("a cat\na bird\n")
    assert [p.text for p in file_prompts(tmp_path / "p.txt", 1)] == ["a cat"]
    with pytest.raises(DataError, match="holds 2 usable prompts of 5"):
        file_prompts(tmp_path / "p.txt", 5)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.jsonl", b'{"prompt": "a cat"}\n{"text": 1}\n'),
        ("p.jsonl", b'{"prompt": 7}\n'),
        ("p.parquet", b"no parquet"),
        ("p.txt", b"\xff\xfe\x00"),
        ("p.csv", b"a cat"),
    ],
)
def test_a_malformed_file_is_an_error_that_names_it(tmp_path: Path, name: str, content: bytes) -> None:
    """A row without a text, a damaged file, another ending: a DataError with the file's name."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        file_prompts(tmp_path / name)


def test_a_path_must_be_given() -> None:
    """The file prompter without a file is a usage error that says which option to set."""
    with pytest.raises(UsageError, match=r"--set prompter\.path"):
        FilePrompter(FileOptions()).write(TinyRandom(), 1, 0, nothing)
