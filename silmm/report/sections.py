"""The content of a report as data: sections of blocks; only the template decides their look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from silmm.rendering.result_table import Drawing, ResultTable


@dataclass(frozen=True)
class Heading:
    """A heading within a section."""

    kind: ClassVar = "heading"
    text: str


@dataclass(frozen=True)
class Paragraph:
    """A paragraph: plain, dimmed, or a note with a bar at its side."""

    kind: ClassVar = "paragraph"
    text: str
    style: Literal["", "soft", "note"] = "soft"
    lead: str = ""
    """Bold words at its start."""


@dataclass(frozen=True)
class HeadlineFigures:
    """The large figures at the top of the page: value and caption of each."""

    kind: ClassVar = "headline"
    figures: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Warnings:
    """A box of warnings."""

    kind: ClassVar = "warnings"
    texts: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table, folded behind `summary` where there is one."""

    kind: ClassVar = "table"
    table: ResultTable
    summary: str = ""


@dataclass(frozen=True)
class Chart:
    """A chart with its legend; without a drawing there were no finite values."""

    title: str
    drawing: Drawing | None
    legend: Sequence[tuple[str, str]] = ()
    """Colour class and text of each key."""


@dataclass(frozen=True)
class Charts:
    """Charts side by side."""

    kind: ClassVar = "charts"
    charts: Sequence[Chart]


@dataclass(frozen=True)
class ImageFigure:
    """An image with its caption."""

    address: str
    alt: str
    caption: str
    correct: bool = False
    """Whether a frame marks that all facts hold."""


Label: TypeAlias = "tuple[str, Literal['mark', 'soft']]"
"""A text beside the prompt of an example, and its style."""


@dataclass(frozen=True)
class Example:
    """One prompt with labels, images on one or more sides, and a table."""

    kind: ClassVar = "example"
    prompt: str
    labels: Sequence[Label]
    sides: Sequence[tuple[str, Sequence[ImageFigure]]] = ()
    table: Table | None = None


Block: TypeAlias = "Heading | Paragraph | HeadlineFigures | Warnings | Table | Charts | Example"


@dataclass(frozen=True)
class Section:
    """A part of the page; the first one has no title."""

    title: str
    blocks: Sequence[Block]
