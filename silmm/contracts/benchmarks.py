"""What an image benchmark is to the runner: items, where images lie, what to ask judges, how to score.

The runner does the rest for all of them: it generates, checks folders, asks the judges, stores their raw
answers by content, applies the rules to what is stored, and writes the result with its protocol card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from PIL.Image import Image


class Mode(str, Enum):
    """Which rules are applied to the judges' answers; results of different modes are never mixed."""

    OFFICIAL = "official"
    """The official scripts' numbers, their documented bugs included."""
    FIXED = "fixed"
    """The same with those bugs repaired; the benchmark's card lists which."""


@dataclass(frozen=True)
class Item:
    """One prompt of a benchmark."""

    id: str
    """Unique in its benchmark: the official id, or the category and the prompt's place in its file."""
    prompt: str
    category: str
    """The column group by which `--categories` chooses; "" where a benchmark has none."""
    images: int = 1
    """Images that the protocol asks for."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What the benchmark's own rules need (questions, parsed objects): JSON-able."""


@dataclass(frozen=True)
class ImageFile:
    """One image of an item: a file, or a part of one (a quarter of DPG-Bench's grids)."""

    item: str
    index: int
    """0-based among the item's images."""
    path: Path
    box: tuple[int, int, int, int] | None = None
    """Left, upper, right, lower in pixels; None for the whole file."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a folder of images or a data file."""

    kind: str
    """missing, extra, unreadable, wrong-size, duplicate."""
    where: str
    """The file, item id or row."""
    what: str
    """One sentence with the way out."""
    item: str = ""
    """The id of the item that it is about; "" for what belongs to none."""


@dataclass(frozen=True)
class Found:
    """The images of a folder in item order, and what is wrong with it."""

    images: tuple[ImageFile, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Request:
    """What a judge is to be asked about each image of an item."""

    judge: str
    """The role: yes-no, vqa, clip, detector-2d, detector, depth (a benchmark maps roles to judges)."""
    queries: tuple[Any, ...] = ()
    """Questions, phrases or texts, JSON-able; empty for judges that are not asked anything."""


@dataclass(frozen=True)
class Column:
    """One number of a result."""

    name: str
    value: float | None
    """A fraction of 1, also where the official script prints percent; people see it times 100.

    None when its judge is missing; `note` says which.
    """
    prompts: int
    images: int
    low: float | None = None
    high: float | None = None
    """95% interval by bootstrap over prompts."""
    note: str = ""
    detail: bool = False
    """Finer than the paper's table (DPG-Bench's L2, TIFA's subsets): shown when asked for."""


@dataclass(frozen=True)
class Judged:
    """One image with the judges' raw answers."""

    item: Item
    index: int
    answers: Mapping[str, Sequence[Any]]
    """By role, in the order of the request's queries; a role whose judge is left out has no key.

    YesNoJudge and ClipJudge: a float a query. VqaJudge: a str a query (queries are str, or
    ``{"text": ..., "choices": [...]}``). AnswerMatcher: the matched choice a query (a query is
    ``{"answer": ..., "choices": [...]}``). Detector: one ``judges.interfaces.Detections``. DepthJudge: one
    uint8 array (height, width), stored as a lossless PNG, so that both modes find it.
    """


class ImageBenchmark(Protocol):
    """T2I-CompBench++, TIFA, DPG-Bench."""

    name: str
    """As on the command line: t2i-compbench, tifa, dpg-bench."""
    title: str
    roles: Mapping[str, str]
    """Role of a judge → the name of the judge that the official protocol uses for it."""
    repairs: Sequence[str]
    """What mode `fixed` repairs, one sentence each."""

    def items(self, data: Path, categories: Sequence[str] = ()) -> list[Item]:
        """Read the official files of `data`, in official order.

        Raises:
            DataError: a file is missing, malformed or has other counts than the specification; names the row.
        """
        ...

    def fingerprint(self, data: Path) -> Mapping[str, str]:
        """Return the sha256 of each data file that `items` reads, for the card."""
        ...

    def protocol(self) -> Mapping[str, Any]:
        """Return what else its numbers depend on, for the card: split, seed rule, aggregation, parser."""
        ...

    def find(self, folder: Path, items: Sequence[Item]) -> Found:
        """Match the official layout and naming of images against the items, without decoding images.

        It is given all items that there are, also where only some of them are scored.
        """
        ...

    def target(self, folder: Path, item: Item, index: int) -> Path:
        """Say where a generated image is stored, so that `find` and the official scripts find it."""
        ...

    def join(self, images: Sequence[Image]) -> Image:
        """Make the image that is stored from the generated ones that share a target, in index order.

        One image comes back as it is; DPG-Bench makes a 2x2 grid of four.
        """
        ...

    def seed(self, item: Item, index: int) -> int:
        """Return the seed of a generated image by the benchmark's own rule."""
        ...

    def requests(self, item: Item) -> Sequence[Request]:
        """Say what to ask about each image of the item."""
        ...

    def follow_up(self, item: Item, answers: Mapping[str, Sequence[Any]]) -> Sequence[Request]:
        """Say what to ask next about one image, given its answers to :meth:`requests`; mostly nothing.

        TIFA: the free answers that are not literally a choice go to the role `matcher`. The answers arrive
        in :class:`Judged` under the role asked here.
        """
        ...

    def score(self, judged: Judged, mode: Mode) -> Mapping[str, Any]:
        """Apply the rules to one image: its numbers by name, JSON-able, in the result's image table.

        A role without answers (its judge is missing) leaves out the numbers that need it. Where the official
        scripts would crash or drop the image, the key "failed" says why.
        """
        ...

    def columns(
        self, items: Sequence[Item], scores: Sequence[tuple[Item, int, Mapping[str, Any]]], mode: Mode
    ) -> list[Column]:
        """Aggregate to the columns of the paper, with n and intervals over prompts."""
        ...


@runtime_checkable
class OfficialFiles(ImageBenchmark, Protocol):
    """A benchmark whose official scripts write files that other programs read (`--official-files`)."""

    def official_files(
        self,
        scored: Sequence[tuple[ImageFile, Judged, Mapping[str, Any]]],
        columns: Sequence[Column],
        folder: Path,
        place: Path,
    ) -> Mapping[str, str]:
        """Return the files by name.

        Args:
            scored: each image that counts with the judges' answers and what :meth:`score` made of them.
            columns: what :meth:`columns` made of all.
            folder: where the images lie.
            place: where the files are going to lie.

        Raises:
            DataError: the official scripts could write nothing either.
        """
        ...
