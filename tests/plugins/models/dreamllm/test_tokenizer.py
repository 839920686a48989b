"""Words and special tokens of DreamLLM, apart from the recorded ones."""

from __future__ import annotations

import json

import pytest
from silmm_plugins.models.dreamllm.checkpoint import read_config
from silmm_plugins.models.dreamllm.tokenizer import DreamTokenizer

from silmm.errors import DataError


def tokenizer(folder) -> DreamTokenizer:
    """Read the tokenizer of a checkpoint."""
    return DreamTokenizer(folder, read_config(folder))


def rewrite(path, change):
    """Change a JSON file in place."""
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_text_comes_back(written):
    """Encoded text, of any script, decodes to itself; special tokens give nothing."""
    words = tokenizer(written)
    for text in ("a red cube", "two  spaces", "Würfel, 立方体", ""):
        ids = words.encode(text)
        assert words.decode([words.bos, *ids, words.eos, words.special["<im_patch>"]]) == text


def test_names_of_special_tokens_in_a_text_are_letters(written):
    """A prompt or a question cannot smuggle in the tokens that stand for images."""
    words = tokenizer(written)
    ids = words.encode("</s> <im_patch> <dream_start> <s>")
    assert not set(ids) & set(words.special.values())


def test_not_legacy_puts_no_space_behind_special_tokens(own):
    """With `"legacy": false` only the text at the very start gets the space in front."""
    assert tokenizer(own).piece(tokenizer(own).encode("cat")[0]).startswith("▁")
    rewrite(own / "tokenizer_config.json", lambda value: value.update(legacy=False))
    words = tokenizer(own)
    assert not words.piece(words.encode("cat")[0]).startswith("▁")
    assert words.piece(words.encode("cat", after_special=False)[0]).startswith("▁")
    assert words.decode(words.encode("a cat")) == "a cat"


def test_a_tokenizer_without_the_tokens_of_images_is_refused(own):
    """The missing token and the file are named."""
    rewrite(
        own / "config.json",
        lambda value: value["special_tokens2ids_dict"]["additional_special_tokens"].pop("<dream_start>"),
    )
    with pytest.raises(DataError, match=r"config\.json.*does not name <dream_start>"):
        tokenizer(own)


def test_files_that_contradict_each_other_are_refused(own):
    """An id in added_tokens.json that differs from config.json's is an error that names both."""
    rewrite(own / "added_tokens.json", lambda value: value.update({"<im_end>": 7}))
    with pytest.raises(DataError, match=r"added_tokens\.json: <im_end> is 7, but \d+"):
        tokenizer(own)


@pytest.mark.parametrize("how", ["missing", "noise"])
def test_a_broken_sentencepiece_model_is_refused(own, how):
    """A missing file and a file of other content are told apart, both by name."""
    path = own / "tokenizer.model"
    path.unlink() if how == "missing" else path.write_bytes(b"\x12\xff\x00 no model")
    with pytest.raises(DataError, match=r"tokenizer\.model is (missing|no sentencepiece model)"):
        tokenizer(own)
