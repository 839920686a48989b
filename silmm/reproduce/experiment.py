"""What a table or figure of the paper is as data: columns, rows and what each row needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from silmm.errors import UsageError

ModelKind = Literal["discrete", "continuous"]
PAPER_IMAGES = 30
"""Candidates of a prompt in the paper's experiments on pairs and ranks."""


@dataclass(frozen=True)
class Square:
    """`NxN` of the paper's 30 candidates: the same share of the candidates that are sampled here."""

    side: int

    def at(self, images: int, prompts: int | str) -> str:
        """Return the option's value for `images` candidates a prompt."""
        del prompts
        side = max(1, round(self.side * images / PAPER_IMAGES))
        return f"{side}x{side}"


@dataclass(frozen=True)
class Ranks:
    """Ranks `low`-`high` of the paper's 30 candidates, as the same share of those sampled here."""

    low: int
    high: int

    def at(self, images: int, prompts: int | str) -> str:
        """Return the option's value for `images` candidates a prompt; all ranges stay equally long."""
        del prompts
        length = max(1, round((self.high - self.low) * images / PAPER_IMAGES))
        high = max(length, round(self.high * images / PAPER_IMAGES))
        return f"{high - length}-{high}"


@dataclass(frozen=True)
class PromptShare:
    """A share of the prompts that are asked for."""

    share: float

    def at(self, images: int, prompts: int | str) -> int:
        """Return the number of prompts.

        Raises:
            UsageError: the prompts are a file, whose number nobody knows here.
        """
        del images
        if isinstance(prompts, str):
            raise UsageError("it needs a number of prompts to take a share of, not a file (--prompts N)")
        return max(1, round(self.share * prompts))


Value: TypeAlias = "str | int | float | Square | Ranks | PromptShare"
Settings: TypeAlias = Mapping[str, Value]
"""Settings of a run by their name on the command line: `scorer`, `pair-rule.shape`, …"""


@dataclass(frozen=True)
class Column:
    """A column of the paper: the mean of some categories of the benchmark."""

    name: str
    categories: tuple[str, ...] = ()
    """As T2I-CompBench++ calls them, with underscores; none: the paper's number alone."""


OVERALL = Column("overall")
"""All prompts of the benchmark alike; every result has this column."""
COLOR, SHAPE, TEXTURE = (Column(name, (name,)) for name in ("color", "shape", "texture"))
SPATIAL, DEPTH, NUMERACY = (
    Column("spatial", ("spatial",)), Column("3d-spatial", ("3d_spatial",)), Column("numeracy", ("numeracy",)),
)
NON_SPATIAL, COMPLEX = Column("non-spatial", ("non_spatial",)), Column("complex", ("complex",))
EIGHT = (COLOR, SHAPE, TEXTURE, SPATIAL, DEPTH, NUMERACY, NON_SPATIAL, COMPLEX)
ATTRIBUTE = Column("attribute", ("color", "shape", "texture"))
LAYOUT = Column("layout", ("spatial", "3d_spatial", "numeracy"))
FOUR = (ATTRIBUTE, LAYOUT, NON_SPATIAL, COMPLEX)


@dataclass(frozen=True)
class Row:
    """One row of a table, or one point (or box) of a figure."""

    name: str
    """What the paper calls it."""
    settings: Settings = field(default_factory=dict)
    """What differs from the experiment's base."""
    kind: ModelKind | None = None
    """The kind of base model that the row is about; None: the experiment's."""
    group: str = ""
    """A block of a table, or a panel of a figure."""
    iteration: int | None = None
    """Whose figures are shown: 0 the base model's, N those after iteration N; None: after the last."""
    paper: tuple[float | None, ...] = ()
    """The paper's own numbers, one for each column, in percent."""
    x: float | None = None
    """The place on the horizontal axis of a figure."""
    line: str = ""
    """The line of a figure that the point belongs to; empty: one line for each column."""


@dataclass(frozen=True)
class Chart:
    """How a figure is sampled."""

    form: Literal["lines", "boxes"]
    """lines: gains over x, a panel for each group; boxes: scores of candidates, a panel for each column."""
    columns: tuple[str, ...]
    """Names of the columns that are sampled."""
    x_label: str = ""
    paper: bool = False
    """Whether panels with the paper's numbers stand below (lines only)."""
    log_x: bool = False


@dataclass(frozen=True)
class Experiment:
    """A table or figure of the paper."""

    name: str
    title: str
    about: str
    """What the paper shows there, and what to know when comparing."""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    kind: ModelKind = "continuous"
    """The paper's kind of model for rows that name none."""
    base: Settings = field(default_factory=dict)
    """Settings of every row."""
    measure: Literal["benchmark", "scores"] = "benchmark"
    """benchmark: before and after by the benchmark; scores: the model's own scores of its candidates."""
    chart: Chart | None = None

    @property
    def kinds(self) -> tuple[ModelKind, ...]:
        """The kinds of model that the rows are about, in their order."""
        return tuple(dict.fromkeys(row.kind or self.kind for row in self.rows))


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
"""The components of the paper's method on each kind of model: what rows vary."""
