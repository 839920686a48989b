"""The contract of a benchmark: items, image layout, questions to judges, rules and columns.

The core does the rest for all benchmarks. `silmm bench` generates images, checks folders, asks the judges, stores
their raw answers by content, applies the rules to what is stored and writes the result with its protocol card;
`silmm run --benchmark NAME` does the same for the base model and for each adapter, and compares them.
"""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from pydantic import field_validator

from silmm.contracts.options import Options, option
from silmm.seeds import derive

if TYPE_CHECKING:
    from PIL.Image import Image

    from silmm.contracts.models import BaseModel
    from silmm.contracts.records import EvalResult

BEFORE = "before"
"""Name of the base model among the models that a run compares."""


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
    """Unique in its benchmark: the official id, or the category and the prompt's position in its file."""
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
    """The id of the item concerned; "" for what belongs to none."""


@dataclass(frozen=True)
class FolderImages:
    """The images of a folder in item order, and what is wrong with it."""

    images: tuple[ImageFile, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Request:
    """What a judge is to be asked about each image of an item."""

    judge: str
    """A role of :mod:`silmm.contracts.judges`, for example "vqa" (a benchmark maps roles to judges)."""
    queries: tuple[Any, ...] = ()
    """Questions, phrases or texts, JSON-able; empty for roles that need none."""


@dataclass(frozen=True)
class Column:
    """One number of a result."""

    name: str
    value: float | None
    """A fraction of 1, also where the official script prints percent; tables show it times 100.

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
class JudgedImage:
    """One image with the judges' raw answers."""

    item: Item
    index: int
    answers: Mapping[str, Sequence[Any]]
    """By role, in the order of the request's queries; a role whose judge is left out has no key.

    The form of each answer is that of :data:`silmm.contracts.judges.ROLES`: a float for each statement, a str for
    each question, one Detections or one uint8 depth map (height, width) for the image, …
    """


class BenchmarkOptions(Options):
    """How `silmm run` evaluates by a benchmark; a benchmark derives its own option class from it.

    `silmm bench` has flags for the same (``--judge``, ``--mode``, ``--canaries``, ``--set generator.temperature=…``).
    """

    temperature: float = option(1.0, "silmm run: sampling of image tokens, before and after", gt=0)
    top_p: float = option(1.0, "silmm run: nucleus of image tokens, before and after", gt=0, le=1)
    top_k: int = option(0, "silmm run: most likely image tokens, before and after; 0: all", ge=0)
    batch_size: int = option(64, "silmm run: images sampled at once", ge=1, unit="images")
    mode: Literal["official", "fixed"] = option("official", "silmm run: the rules, as --mode of silmm bench")
    judges: dict[str, str] = option(
        {}, "silmm run: other judges than the official ones, ROLE=NAME[:PATH] with commas"
    )
    judge_options: dict[str, str] = option({}, "silmm run: options of judges, ROLE.OPTION=VALUE with commas")
    canaries: Literal["stop", "warn", "off"] = option(
        "stop", "silmm run: what follows when a judge fails questions whose answers are known"
    )

    @field_validator("judges", "judge_options", mode="before")
    @classmethod
    def _read_assignments(cls, value: object) -> object:
        """Read ``KEY=VALUE,KEY=VALUE``."""
        if not isinstance(value, str):
            return value
        parts = [part.partition("=") for part in value.split(",") if part.strip()]
        if any(not (key.strip() and text.strip()) for key, _, text in parts):
            raise ValueError("expected KEY=VALUE, several with commas between them")
        return {key.strip(): text.strip() for key, _, text in parts}


class Benchmark(ABC):
    """Prompts, an image layout, questions to judges, rules and columns.

    A factory of `silmm_register_benchmarks` returns one. Methods that are not abstract have the usual behaviour.
    """

    name: str
    """As on the command line, for example "tifa"."""
    title: str
    roles: Mapping[str, str]
    """Role of a judge → the name of the judge that the official protocol uses for it."""
    repairs: Sequence[str] = ()
    """What mode `fixed` repairs, one sentence each."""
    headline: str = "Overall"
    """The column that sums the benchmark up; "" where it has none: `silmm run` then shows the mean over prompts."""

    @abstractmethod
    def items(self, data: Path, categories: Sequence[str] = ()) -> list[Item]:
        """Read the official files of `data`, in official order.

        Raises:
            DataError: a file is missing, malformed or has other counts than the specification; names the row.
            UsageError: an unknown category.
        """

    @abstractmethod
    def fingerprint(self, data: Path) -> Mapping[str, str]:
        """Return the sha256 of each data file that `items` reads, for the card."""

    @abstractmethod
    def protocol(self) -> Mapping[str, Any]:
        """Return what else the numbers depend on, for the card: split, seed rule, aggregation, parser."""

    @abstractmethod
    def find(self, folder: Path, items: Sequence[Item]) -> FolderImages:
        """Match the official layout and naming of images with the items, without decoding images.

        `items` are all items of the chosen categories, even where only some of them are scored.
        """

    @abstractmethod
    def target(self, folder: Path, item: Item, index: int) -> Path:
        """Return where a generated image is stored, so that `find` and the official scripts find it."""

    def accompanying_files(self, folder: Path, item: Item) -> Mapping[Path, str]:
        """Return the text files that the official scripts read beside a generated item's images; by default none."""
        del folder, item
        return {}

    def join(self, images: Sequence[Image]) -> Image:
        """Combine the generated images of one target, in index order, into the image that is stored.

        The default returns the only image; DPG-Bench makes a 2x2 grid of four.
        """
        (image,) = images
        return image

    def seed(self, item: Item, index: int) -> int:
        """Return the seed of a generated image; by default one that depends on benchmark, item and index alone."""
        return derive(0, self.name, item.id, index)

    @abstractmethod
    def requests(self, item: Item) -> Sequence[Request]:
        """Return what to ask about each image of the item."""

    def follow_up(self, item: Item, answers: Mapping[str, Sequence[Any]]) -> Sequence[Request]:
        """Return what to ask next about one image, given its answers to :meth:`requests`; by default nothing.

        TIFA: the free answers that are not literally a choice go to the role `matcher`. The answers arrive
        in :class:`JudgedImage` under the role of the request.
        """
        del item, answers
        return ()

    @abstractmethod
    def score(self, judged: JudgedImage, mode: Mode) -> Mapping[str, Any]:
        """Apply the rules to one image: its numbers by name, JSON-able, for the result's image table.

        A role without answers (its judge is missing) leaves out the numbers that need it. Where the official
        scripts would crash or drop the image, the key "failed" says why.
        """

    @abstractmethod
    def columns(
        self, items: Sequence[Item], scores: Sequence[tuple[Item, int, Mapping[str, Any]]], mode: Mode
    ) -> list[Column]:
        """Aggregate to the columns of the paper, with n and intervals over prompts."""

    def excluded(self, prompt: str, own_prompts: Collection[str]) -> bool:
        """Return whether training on `prompt` would contaminate the benchmark; by default,
            whether it is one of its own.

        Args:
            prompt: a prompt of a training run.
            own_prompts: the benchmark's prompts, each as :func:`normalised_prompt` returns it.
        """
        return normalised_prompt(prompt) in own_prompts


def normalised_prompt(prompt: str) -> str:
    """Return one form of prompts that differ in case, spacing, Unicode form or a final period alone."""
    return " ".join(unicodedata.normalize("NFKC", prompt).casefold().split()).rstrip(". ")


@runtime_checkable
class OfficialOutputs(Protocol):
    """A benchmark whose official scripts write files that other programs read (`--official-files`)."""

    def official_files(
        self,
        scored: Sequence[tuple[ImageFile, JudgedImage, Mapping[str, Any]]],
        columns: Sequence[Column],
        folder: Path,
        target: Path,
    ) -> Mapping[str, str]:
        """Return the files by name.

        Args:
            scored: each image that counts with the judges' answers and its numbers of :meth:`Benchmark.score`.
            columns: the columns over all of them.
            folder: where the images are.
            target: the folder that the files will be written to.

        Raises:
            DataError: the official scripts could write nothing either.
        """
        ...


@runtime_checkable
class OwnEvaluation(Protocol):
    """A benchmark that measures more in a run than `silmm bench` does, and therefore evaluates itself."""

    def evaluate(
        self,
        model: BaseModel,
        adapters: Mapping[str, Path | None],
        *,
        work: Path,
        seed: int,
        limit: int | None,
        progress: Callable[[str, int, int], None],
    ) -> EvalResult:
        """Compare the base model (key :data:`BEFORE`, None) with each adapter under one protocol.

        The last adapter is the "after" of the result.

        Args:
            model: the base model; adapters are put on it and taken off it.
            adapters: the base model and the tuned models in turn.
            work: the benchmark's own folder in the run directory: finished work stays there, and a second call
                goes on from it.
            seed: the run's seed.
            limit: evaluate on about this many prompts only, and mark the result as partial.
            progress: called with a stage, the images done and all images.
        """
        ...

    def kept_by_content(self, work: Path) -> Sequence[Path]:
        """Return the finished files and folders in `work` that another run may take over (`silmm reproduce`).

        Their names are made of everything that they depend on, except the base model and this benchmark's options;
        the other run has the same of both.
        """
        ...
