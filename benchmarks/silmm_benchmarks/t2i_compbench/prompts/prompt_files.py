"""Reads the prompt files of T2I-CompBench++ into items with all that the rules need (docs/spec/benchmarks.md 1.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from silmm.contracts.benchmarks import Item
from silmm.errors import DataError
from silmm_benchmarks.data.text import checked_text, read_text
from silmm_benchmarks.t2i_compbench.official_data import COMPLEX_ACTION, COMPLEX_SPATIAL, OBJECTS
from silmm_benchmarks.t2i_compbench.prompts.grammar import Parse, without_adjectives
from silmm_benchmarks.t2i_compbench.prompts.prompt_parser import Parser
from silmm_benchmarks.t2i_compbench.prompts.related_objects import (
    RELATIONS_2D,
    RELATIONS_3D,
    complex_pair,
    relation,
    simple_pair,
)
from silmm_benchmarks.t2i_compbench.rules.attribute_binding import questions
from silmm_benchmarks.t2i_compbench.rules.numeracy import wanted_objects
from silmm_benchmarks.t2i_compbench.rules.three_in_one import group_of, list_key

CATEGORIES = ("color", "shape", "texture", "spatial", "3d_spatial", "numeracy", "non_spatial", "complex")
IMAGES = 10
"""Images of each prompt; the 3-in-1 script allows no other number."""
PROMPTS = 300
"""Prompts of each category."""
_LONGEST = 240  # bytes of a prompt: with "_000000.png" it is a file's name, and those have at most 255


def prompt_file(category: str) -> str:
    """Return the name of the file with a category's prompts."""
    return f"{category}_val.txt"


def files_read(category: str) -> list[str]:
    """Return the names of all files on which a category's items depend."""
    more = {"numeracy": [OBJECTS], "complex": [COMPLEX_SPATIAL, COMPLEX_ACTION]}
    return [prompt_file(category), *more.get(category, [])]


def load_items(data: Path, category: str, parser: Parser, *, official: bool = True) -> list[Item]:
    """Read a category's prompts in their order, with what its rule needs.

    Args:
        data: the folder of the official files.
        category: one of :data:`CATEGORIES`.
        parser: gives the prompts' grammar.
        official: whether there must be :data:`PROMPTS` of them.

    Raises:
        DataError: a file is missing, empty, not UTF-8 or of another length; a prompt is repeated, too long
            for a file's name or cannot be one; each message names file and line.
    """
    prompts = read_prompts(data, category)
    if official and len(prompts) != PROMPTS:
        raise DataError(
            f"{data / prompt_file(category)} has {len(prompts)} prompts instead of {PROMPTS}. "
            "Fetch it with `silmm data pull t2i-compbench`; for own prompts give "
            "--set t2i-compbench.custom=true."
        )
    details = _Details(data, category)
    return [
        Item(
            id=f"{category}/{row:04d}", prompt=parse.prompt, category=category, images=IMAGES,
            details={"row": row, **details.of(parse)},
        )
        for row, parse in enumerate(parser.parse(prompts))
    ]


class _Details:
    """Turns a parse into what the rules of one category need, JSON-able."""

    def __init__(self, data: Path, category: str) -> None:
        self._category = category
        if category == "numeracy":
            self._singular_of = read_objects(data / OBJECTS)
        if category == "complex":
            self._spatial, self._action = (
                frozenset(map(list_key, _lines(data / name))) for name in (COMPLEX_SPATIAL, COMPLEX_ACTION)
            )

    def of(self, parse: Parse) -> Mapping[str, Any]:
        """Return the details; where a rule cannot read the prompt, "failed" says why."""
        match self._category:
            case "color" | "shape" | "texture":
                return {"questions": questions(parse.phrases())}
            case "spatial":
                return _related(parse, RELATIONS_2D)
            case "3d_spatial":
                return _related(parse, RELATIONS_3D)
            case "numeracy":
                return self._counted(parse)
            case "complex":
                return {
                    "questions": questions(parse.phrases()),
                    "text": without_adjectives(parse),
                    "objects": list(complex_pair(parse)),
                    "relation": relation(parse.prompt, RELATIONS_2D),
                    "group": group_of(parse.prompt, self._spatial, self._action),
                }
        return {"text": parse.prompt}

    def _counted(self, parse: Parse) -> Mapping[str, Any]:
        try:
            wanted = wanted_objects(parse.words(), self._singular_of)
        except ValueError as error:
            return {"wanted": [], "failed": str(error)}
        return {"wanted": [list(pair) for pair in wanted]}


def _related(parse: Parse, relations: Sequence[str]) -> Mapping[str, Any]:
    words = relation(parse.prompt, relations)
    try:
        return {"objects": list(simple_pair(parse)), "relation": words}
    except ValueError as error:
        return {"objects": [None, None], "relation": words, "failed": str(error)}


def read_prompts(data: Path, category: str) -> list[str]:
    """Read a category's prompts; they are distinct and safe as parts of file names.

    Raises:
        DataError: the file is missing, empty or not UTF-8, or a prompt is none; names file and line.
    """
    path = data / prompt_file(category)
    line_of: dict[str, int] = {}
    for number, line in enumerate(_lines(path), 1):
        where = f"{path}, line {number}"
        prompt = checked_text(line, where, "prompt")
        if bad := [sign for sign in prompt if sign in "/\\_" or not sign.isprintable()]:
            raise DataError(
                f"{where}: the prompt holds {bad[0]!r}, which cannot be in the name of its images; "
                "write it without."
            )
        if len(prompt.encode()) > _LONGEST:
            raise DataError(
                f"{where}: the prompt has {len(prompt.encode())} bytes; its images are named after it, "
                f"and names hold at most {_LONGEST}. Shorten it."
            )
        if prompt in line_of:
            raise DataError(
                f"{where}: the prompt repeats line {line_of[prompt]}; images of both would have one name. "
                "Take one out."
            )
        line_of[prompt] = number
    if not line_of:
        raise DataError(f"{path} holds no prompts. Fetch it with `silmm data pull t2i-compbench`.")
    return list(line_of)


def read_objects(path: Path) -> dict[str, str]:
    """Return plural -> singular from lines "singular - plural".

    Raises:
        DataError: the file is missing or not UTF-8, or a line has another form; names it.
    """
    singular_of: dict[str, str] = {}
    for number, line in enumerate(_lines(path), 1):
        singular, dash, plural = (part.strip() for part in line.partition(" - "))
        if not (singular and dash and plural):
            raise DataError(
                f"{path}, line {number}: {line[:80]!r} is not of the form 'singular - plural'. "
                "Fetch it with `silmm data pull t2i-compbench`."
            )
        singular_of.setdefault(plural, singular)
    return singular_of


def _lines(path: Path) -> list[str]:
    """Return a file's lines, with CRLF or LF ends, without trailing empty ones."""
    text = read_text(path).replace("\r\n", "\n").rstrip("\n")
    return text.split("\n") if text else []
