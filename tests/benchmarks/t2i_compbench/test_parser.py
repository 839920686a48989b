"""Prompts are parsed by the shipped table, and by spaCy where the table does not have them."""

from __future__ import annotations

import json
import re
from importlib import resources

import pytest
from silmm_benchmarks.t2i_compbench.prompts.grammar import Parse, Token, decode, encode
from silmm_benchmarks.t2i_compbench.prompts.make_parse_table import PINNED, table_text
from silmm_benchmarks.t2i_compbench.prompts.prompt_files import CATEGORIES, load_items, read_prompts
from silmm_benchmarks.t2i_compbench.prompts.prompt_parser import TABLE, Parser
from silmm_benchmarks.t2i_compbench.prompts.related_objects import complex_pair, simple_pair

from silmm.errors import UsageError
from tests.conftest import OfficialData

OWN = "a purple walrus on the left of a wooden violin"


def shipped() -> str:
    """Read the table as it is installed."""
    return (resources.files("silmm_benchmarks.t2i_compbench.prompts") / TABLE).read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_table_is_what_the_pinned_pipeline_gives(official_data: OfficialData) -> None:
    """Anyone can make the table again, byte for byte but for the versions it names."""
    spacy = pytest.importorskip("spacy")
    if not spacy.util.is_package(PINNED):
        pytest.skip(f"the pipeline {PINNED} is not installed")
    made = table_text(official_data("t2i-compbench"))
    assert made.split("\n", 1)[1] == shipped().split("\n", 1)[1]


def test_the_table_has_the_official_prompts_and_no_text(official_data: OfficialData) -> None:
    """2,400 hashes with spans; the only letters are tags."""
    rows = json.loads(shipped())["prompts"]
    data = official_data("t2i-compbench")
    assert len(rows) == len({p for c in CATEGORIES for p in read_prompts(data, c)}) == 2400
    for key, (tokens, chunks) in rows.items():
        assert re.fullmatch(r"[0-9a-f]{64}", key)
        assert re.fullmatch(r"[0-9 NPA-]+", tokens)
        assert re.fullmatch(r"[0-9 -]*", chunks)


def test_things_of_the_spatial_prompts_are_their_ends(official_data: OfficialData) -> None:
    """All 600 spatial prompts read "a X … a Y", and X and Y are what the rules look for."""
    data = official_data("t2i-compbench")
    parser = Parser()
    for category in ("spatial", "3d_spatial"):
        for parse in parser.parse(read_prompts(data, category)):
            words = parse.words()
            assert [words[1], words[-1]] == [
                {"person": word}.get(found or "", found)
                for word, found in zip((words[1], words[-1]), simple_pair(parse), strict=True)
            ]


def test_a_third_of_the_2d_prompts_has_no_official_label(official_data: OfficialData) -> None:
    """The noted ceiling of 0.667 follows from the labels and the table, and so do 20 prompts in 3D."""
    data = official_data("t2i-compbench")
    labels = json.loads((data / "unidet_labels_722.json").read_text())
    two, three = (
        [item.details["objects"] for item in load_items(data, name, Parser())]
        for name in ("spatial", "3d_spatial")
    )
    assert sum(not set(pair) <= set(labels) for pair in two) == 100
    assert sum(any(word not in " ".join(labels) for word in pair) for pair in three) == 20


def test_own_prompts_are_parsed_by_spacy() -> None:
    """A prompt that the table does not have gets the same kind of parse, and the card says who parsed."""
    spacy = pytest.importorskip("spacy")
    parser = Parser()
    if not any(map(spacy.util.is_package, ("en_core_web_sm", PINNED))):
        pytest.skip("no English pipeline is installed")
    (parse,) = parser.parse([OWN])
    assert simple_pair(parse) == ("walrus", "violin")
    assert parse.phrases() == ["a purple walrus", "the left", "a wooden violin"]
    assert "spaCy" in parser.identity and "table" not in parser.identity


def test_a_missing_pipeline_says_what_to_install() -> None:
    """Without a pipeline, prompts that are not official are refused with the way out."""
    with pytest.raises(UsageError, match="Install it with"):
        Parser(pipelines=["no_such_pipeline"]).parse([OWN])


@pytest.mark.parametrize("tokens", ["0-9", "2-1", "0-2 1-3", "x", "0-3Z"])
def test_spans_that_do_not_fit_are_refused(tokens: str) -> None:
    """A damaged row is never read as another parse."""
    with pytest.raises(ValueError, match="span"):
        decode("a dog", tokens, "")


def test_encoding_comes_back() -> None:
    """Tokens, tags and chunks survive the table's form."""
    parse = Parse("a red dog", (Token(0, 1, ""), Token(2, 5, "A"), Token(6, 9, "N")), ((0, 9),))
    assert decode(parse.prompt, *encode(parse)) == parse


def test_proper_names_stand_for_things_in_complex_prompts() -> None:
    """Without a noun after the relation, the end of the first run of proper names is the thing."""
    parse = decode("The dog is near Tower Bridge.", "0-3 4-7N 8-10 11-15 16-21P 22-28P 28-29", "")
    assert complex_pair(parse) == ("dog", "Bridge")
