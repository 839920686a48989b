"""The code and the pages keep one word per thing, the field's own: retired words do not come back."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from silmm.registry.registry import KINDS, Registry
from tests.conftest import REPOSITORY

TOPS = ("silmm", "silmm_cli", "plugins", "benchmarks", "training", "tests", "docs", "examples")
CODE = [path for top in TOPS for path in sorted((REPOSITORY / top).rglob("*.py"))]
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md"), *(REPOSITORY / "tests").rglob("*.md")])

NAMES: Mapping[str, str] = {
    "one": "what it is: item, row, path, …",
    "found": "what was found: files, images, rows, …",
    "told": "message, counts, report, state",
    "tell": "report, message",
    "mine": "what is owned: owned_shards",
    "ours": "what it is, and whose: silmm_bytes",
    "theirs": "what it is, and whose: recorded",
    "given": "arguments, options, the thing itself",
    "known": "what is known: labels, scored_candidates, …",
    "seen": "what was seen: calls, prompts, …",
    "look": "encode_image, answer_questions, describe",
    "looks": "encode_image, answer_questions, describe",
    "talk": "chat",
    "place": "path, position, index, device",
    "places": "paths, positions, indices, devices",
    "placed": "on_device, at_position",
    "heat": "temperature",
    "grave": "severe",
    "awake": "in_train_mode",
    "apart": "separated",
    "draw": "sample",
    "drawn": "sampled",
    "recompute": "gradient_checkpointing",
}
"""A variable, function, parameter or attribute of this name alone -> what says more."""

PARTS: Mapping[str, str] = {
    "picture": "image", "pictures": "images", "painter": "decoder", "painters": "decoders", "chair": "JudgePool",
    "seat": "JudgeHandle", "sitting": "JudgingSession", "looking": "vqa", "talking": "chat",
}
"""A word inside a name -> what replaces it."""

WORDS: Mapping[str, str] = {"picture": "image", "pictures": "images", "painter": "decoder"}
"""A word of a docstring, comment, message or page -> what replaces it."""

OPTIONS: Mapping[str, str] = {
    "batch": "batch_size", "accumulation": "gradient_accumulation_steps", "warmup": "warmup_steps",
    "recompute": "gradient_checkpointing", "restraint": "reference_weight", "anchor": "chosen_weight",
    "nll": "nll_weight", "decodes": "decodes_per_candidate", "plain_images": "images_at_temperature_1",
    "look_pixels": "vqa_pixels",
}
"""An option of a component -> its name."""

MODULES = {
    "soundness", "forms", "chair", "panel", "drawing", "drawn", "looking", "talking", "pictures", "answering",
    "painter", "content", "ranks", "file_digests", "opening", "resolving", "utils", "helpers",
    "common", "manager", "misc",
}
"""Names of modules that said too little."""

EXCEPTIONS: Mapping[str, set[str]] = {
    "plugins/silmm_plugins/text/instructions.py": {"picture", "painter"},  # sent to models, word for word
    "benchmarks/silmm_benchmarks/t2i_compbench/rules/label_matching.py": {"picture"},  # an official synonym
    "benchmarks/silmm_benchmarks/t2i_compbench/rules/numeracy.py": {"picture"},  # the same, in the official parser
    **{
        f"plugins/silmm_plugins/models/{path}.py": {"places"}  # the name of a weight in the shipped files
        for path in ("tiny/language_model", "tiny_continuous/decoder", "tiny_continuous/language_model",
                     "tiny_discrete/language_model")
    },
    "docs/spec/benchmarks.md": {"picture"},  # quotes both
    "tests/benchmarks/end_to_end/test_tifa.py": {"picture"},  # a published question of TIFA
    "tests/docs/test_vocabulary.py": {*WORDS},  # this list
}
"""File -> words that stand in it because somebody else chose them."""

HYPOTHESIS = {"given", "draw"}
"""Names that hypothesis gives to its decorator and to an argument of strategies."""

STILL: set[str] = set()
"""Words that have not been replaced everywhere yet."""


def names(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of each identifier."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME:
            yield token.start[0], token.string


def parts(name: str) -> list[str]:
    """Return the words of an identifier, in lower case."""
    return [part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)]


def offences_of_names(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and retired word of each identifier that is one or holds one."""
    for line, name in names(source):
        if name.strip("_") in NAMES:
            yield line, name.strip("_")
        for part in parts(name):
            if part in PARTS:
                yield line, part


def offences_of_words(text: str) -> Iterator[tuple[int, str]]:
    """Yield line and retired word of a text."""
    for number, line in enumerate(text.splitlines(), 1):
        for word in re.findall(r"[a-z]+", line.lower()):
            if word in WORDS:
                yield number, word


def shown(path: Path, offences: Iterator[tuple[int, str]]) -> list[str]:
    """Return an offence per line, without the exceptions of its file."""
    name = path.relative_to(REPOSITORY).as_posix()
    allowed = EXCEPTIONS.get(name, set()) | STILL
    if path.suffix == ".py" and "from hypothesis import" in path.read_text(encoding="utf-8"):
        allowed = allowed | HYPOTHESIS
    instead = {**WORDS, **PARTS, **NAMES}
    return [f"{name}:{line}: {word} -> {instead[word]}" for line, word in offences if word not in allowed]


def test_no_name_is_a_retired_word() -> None:
    """No identifier is a pronoun, a verb in place of a noun, or retired; in tests, retired."""
    offences = [
        offence for path in CODE for offence in shown(path, offences_of_names(path.read_text(encoding="utf-8")))
        if not offence.startswith("tests/") or offence.rpartition(" -> ")[0].rpartition(" ")[2] in PARTS
    ]
    assert not offences, "\n".join(offences)


def test_no_text_uses_a_retired_word() -> None:
    """Docstrings, comments, messages and pages say image, not picture."""
    offences = [
        offence for path in (*CODE, *PAGES)
        for offence in shown(path, offences_of_words(path.read_text(encoding="utf-8")))
    ]
    assert not offences, "\n".join(offences)


def test_no_option_has_a_retired_name() -> None:
    """Options of all components that come with silmm are called as transformers and TRL call them."""
    registry = Registry.load({"SILMM_LOAD_PLUGINS": "silmm"})
    offences = [
        f"{kind} {entry.name}: {option} -> {OPTIONS[option]}"
        for kind in KINDS for entry in registry.entries(kind) if entry.options
        for option in entry.options.model_fields if option in OPTIONS
    ]
    assert not offences, "\n".join(offences)


def test_no_module_has_a_retired_name() -> None:
    """No module is called after a verb or after nothing in particular."""
    assert [str(path.relative_to(REPOSITORY)) for path in CODE if path.stem in MODULES] == []


@pytest.mark.parametrize("word", sorted(STILL))
def test_what_is_still_tolerated_still_occurs(word: str) -> None:
    """A word that has been replaced everywhere leaves the list of words that are still tolerated."""
    texts = [path.read_text(encoding="utf-8") for path in CODE if path.name != "test_vocabulary.py"]
    assert any(word == offence for text in texts for _, offence in offences_of_names(text))


def test_retired_words_are_noticed() -> None:
    """Names are read as identifiers and by their parts, texts by their words; longer words do not count."""
    source = 'found = PictureBook(one=1)\nfoundation = "a pictured place"  # told\n'
    assert list(offences_of_names(source)) == [(1, "found"), (1, "picture"), (1, "one")]
    text = "No picture.\nA Painter's PICTURES"
    assert list(offences_of_words(text)) == [(1, "picture"), (2, "painter"), (2, "pictures")]
