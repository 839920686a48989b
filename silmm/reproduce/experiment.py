"""A table or figure of the paper as data: its columns, and the settings of each row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from silmm.errors import UsageError

ModelKind = Literal["discrete", "continuous"]
PAPER_IMAGES = 30
"""Candidates per prompt in the paper's experiments on pairs and ranks."""


@dataclass(frozen=True)
class Square:
    """`NxN` of the paper's 30 candidates: the same share of the candidates of a run here."""

    side: int

    def at(self, images: int, prompts: int | str) -> str:
        """Return the option's value for `images` candidates per prompt."""
        del prompts
        side = max(1, round(self.side * images / PAPER_IMAGES))
        return f"{side}x{side}"


@dataclass(frozen=True)
class Ranks:
    """Ranks `low`-`high` of the paper's 30 candidates: the same share of the candidates of a run here."""

    low: int
    high: int

    def at(self, images: int, prompts: int | str) -> str:
        """Return the option's value for `images` candidates per prompt; all ranges have equal lengths."""
        del prompts
        length = max(1, round((self.high - self.low) * images / PAPER_IMAGES))
        high = max(length, round(self.high * images / PAPER_IMAGES))
        return f"{high - length}-{high}"


@dataclass(frozen=True)
class PromptShare:
    """A share of the run's prompts."""

    share: float

    def at(self, images: int, prompts: int | str) -> int:
        """Return the number of prompts.

        Raises:
            UsageError: the prompts are a file, and their number is not known yet.
        """
        del images
        if isinstance(prompts, str):
            raise UsageError("a share of the prompts needs their number (--prompts N), not a file")
        return max(1, round(self.share * prompts))


Value: TypeAlias = "str | int | float | Square | Ranks | PromptShare"
Settings: TypeAlias = Mapping[str, Value]
"""Settings of a run by their names on the command line: `scorer`, `pair-rule.shape`, …"""


@dataclass(frozen=True)
class PaperColumn:
    """A column of the paper: the mean of some categories of the benchmark."""

    name: str
    categories: tuple[str, ...] = ()
    """Names of T2I-CompBench++, with underscores; empty: only the paper's number is shown."""


OVERALL = PaperColumn("overall")
"""All prompts of the benchmark alike; every result has this column."""
COLOR, SHAPE, TEXTURE = (PaperColumn(name, (name,)) for name in ("color", "shape", "texture"))
SPATIAL, DEPTH, NUMERACY = (
    PaperColumn("spatial", ("spatial",)), PaperColumn("3d-spatial", ("3d_spatial",)),
    PaperColumn("numeracy", ("numeracy",)),
)
NON_SPATIAL, COMPLEX = PaperColumn("non-spatial", ("non_spatial",)), PaperColumn("complex", ("complex",))
EIGHT = (COLOR, SHAPE, TEXTURE, SPATIAL, DEPTH, NUMERACY, NON_SPATIAL, COMPLEX)
ATTRIBUTE = PaperColumn("attribute", ("color", "shape", "texture"))
LAYOUT = PaperColumn("layout", ("spatial", "3d_spatial", "numeracy"))
FOUR = (ATTRIBUTE, LAYOUT, NON_SPATIAL, COMPLEX)


@dataclass(frozen=True)
class Row:
    """One row of a table, or one point (or box) of a figure."""

    name: str
    """Its name in the paper."""
    settings: Settings = field(default_factory=dict)
    """The settings that differ from the experiment's base."""
    kind: ModelKind | None = None
    """The kind of base model of the row; None: the experiment's."""
    group: str = ""
    """A block of a table, or a panel of a figure."""
    iteration: int | None = None
    """Which figures are shown: 0 the base model's, N those after iteration N; None: after the last."""
    paper: tuple[float | None, ...] = ()
    """The paper's numbers, one per column, in percent."""
    x: float | None = None
    """The position on the horizontal axis of a figure."""
    line: str = ""
    """The line of a figure that the point belongs to; empty: one line per column."""


@dataclass(frozen=True)
class Chart:
    """How a figure is plotted."""

    form: Literal["lines", "boxes"]
    """lines: gains over x, one panel per group; boxes: scores of candidates, one panel per column."""
    columns: tuple[str, ...]
    """Names of the columns that are plotted."""
    x_label: str = ""
    paper: bool = False
    """Whether further panels show the paper's numbers (lines only)."""
    log_x: bool = False


@dataclass(frozen=True)
class Experiment:
    """A table or figure of the paper."""

    name: str
    title: str
    about: str
    """What the paper shows, and what to know for a comparison."""
    columns: tuple[PaperColumn, ...]
    rows: tuple[Row, ...]
    kind: ModelKind = "continuous"
    """The kind of model of rows that name none."""
    base: Settings = field(default_factory=dict)
    """Settings of every row."""
    measure: Literal["benchmark", "scores"] = "benchmark"
    """benchmark: before and after by the benchmark; scores: the model's self-scores of its candidates."""
    chart: Chart | None = None

    @property
    def kinds(self) -> tuple[ModelKind, ...]:
        """The kinds of model of the rows, in their order."""
        return tuple(dict.fromkeys(row.kind or self.kind for row in self.rows))

    def paper_numbers(self, row: Row) -> dict[str, float]:
        """Return the paper's numbers of a row by column."""
        numbers = zip(self.columns, row.paper, strict=False)
        return {column.name: value for column, value in numbers if value is not None}


PAPER_MODEL: Mapping[ModelKind, str] = {"discrete": "SEED-LLaMA", "continuous": "DreamLLM"}
"""The paper's base model of each kind."""
METHOD: Mapping[ModelKind, Settings] = {
    "discrete": {
        "sampler": "nucleus", "questioner": "self-q", "scorer": "diff-of-prob", "trainer": "dpo",
        "kernel": "none",
    },
    "continuous": {
        "sampler": "dropdiv", "questioner": "self-q", "scorer": "diff-of-prob", "trainer": "kc-dpo",
        "kernel": "avgpool-cos",
    },
}
"""The components of the paper's method on each kind of model, which rows vary."""
