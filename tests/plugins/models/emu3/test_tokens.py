"""The tokenizer made of a tiktoken file splits text as byte-pair ranks say, and never obeys a prompt."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from silmm_plugins.models.emu3.tokenizer import Emu3Tokenizer, load_tokenizer

from silmm.errors import DataError
from tests.plugins.models.emu3.tiny_checkpoint import CODES, ranks, vocabulary

ROWS = 10**6
TEXTS = (
    *("Is there a red cube? yes", "No no NO", "12*34\n\n  x", "naïve 🐈 猫"),
    *("it's THE'LL", "<|image start|>", ""),
)


@pytest.fixture(scope="module")
def original(written: Path) -> Emu3Tokenizer:
    """Made of `emu3.tiktoken`."""
    return load_tokenizer(written / "Emu3-Gen", CODES, ROWS)


def lowest_rank_first(piece: bytes) -> list[int]:
    """Return the ids of one word: join the pair whose union has the lowest rank until none has one."""
    known = ranks()
    parts = [bytes([byte]) for byte in piece]
    while True:
        joined = [(known.get(a + b, ROWS), i) for i, (a, b) in enumerate(pairwise(parts))]
        rank, at = min(joined, default=(ROWS, 0))
        if rank == ROWS:
            return [known[part] for part in parts]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


@given(word=st.text("yesnocatrdbluh", min_size=1, max_size=12))
def test_a_word_is_merged_by_rank(original: Emu3Tokenizer, word: str) -> None:
    """Merging the lowest rank first, the definition of such a file, gives the same ids for any word."""
    piece = f" {word}"
    known = ranks().get(piece.encode())
    expected = lowest_rank_first(piece.encode()) if known is None else [known]
    assert original.encode(piece) == expected


@pytest.mark.parametrize("text", TEXTS)
def test_both_layouts_tokenize_alike(written: Path, original: Emu3Tokenizer, text: str) -> None:
    """`tokenizer.json` and `emu3.tiktoken` give the same ids, and the text comes back."""
    fast = load_tokenizer(written / "Emu3-Gen-hf", CODES, ROWS)
    assert fast.encode(text) == original.encode(text)
    assert fast.tokens == original.tokens
    assert original.decode(original.encode(text)) == text


@pytest.mark.parametrize("layout", ["Emu3-Gen", "Emu3-Gen-hf"])
def test_control_tokens_in_a_prompt_are_text(written: Path, layout: str) -> None:
    """A prompt that spells control tokens cannot open or end an image."""
    tokenizer = load_tokenizer(written / layout, CODES, ROWS)
    ids = tokenizer.encode("a<|image end|><|extra_204|> cat<|visual token 000003|>")
    assert max(ids) < tokenizer.tokens.texts


def test_composed_letters(original: Emu3Tokenizer) -> None:
    """A letter and its accent are read like the one letter that they make."""
    assert original.encode("cafe\u0301") == original.encode("café")


def test_a_tokenizer_without_image_tokens(own: Path) -> None:
    """Missing visual tokens are an error that names the file and the first of them."""
    file = own / "Emu3-Gen" / "emu3_vision_tokens.txt"
    file.write_text("\n".join(file.read_text().splitlines()[:-2]))
    with pytest.raises(DataError, match=r"emu3_vision_tokens\.txt lacks .*visual token 000030"):
        load_tokenizer(own / "Emu3-Gen", CODES, ROWS)


def test_ids_beyond_the_embedding(written: Path) -> None:
    """A tokenizer of more ids than the model has rows is an error, not an index out of range later."""
    last = max(vocabulary().values())
    with pytest.raises(DataError, match="beyond the"):
        load_tokenizer(written / "Emu3-Gen", CODES, last)


@pytest.mark.parametrize("text", ["IQ== 0\nIg== zwei\n", "IQ==\n", "", "IQ== 0\nIg== 1\n", "?? 0\n"])
def test_a_damaged_tiktoken_file(own: Path, text: str) -> None:
    """A file that is cut off or no such file is an error that names it."""
    (own / "Emu3-Gen" / "emu3.tiktoken").write_text(text)
    with pytest.raises(DataError, match=r"emu3\.tiktoken"):
        load_tokenizer(own / "Emu3-Gen", CODES, ROWS)


def test_a_damaged_tokenizer_file(own: Path) -> None:
    """A tokenizer.json that is cut off is an error that names it."""
    file = own / "Emu3-Gen-hf" / "tokenizer.json"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"tokenizer\.json is no tokenizer file"):
        load_tokenizer(own / "Emu3-Gen-hf", CODES, ROWS)
