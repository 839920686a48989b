"""What `silmm bench` asks of a benchmark that scores images: a request in, a result file out.

A benchmark whose component has :meth:`ImageBench.bench` is one that `silmm bench` can run; the command
line knows nothing else of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from silmm.registry.registry import Registry

Progress = Callable[[str, int, int], None]
"""Told of a stage, how much of it is done, and of how much."""

LEFT_OUT = "none"
"""In the place of a judge's name: its role stays empty, and so do the columns that need it."""


@dataclass(frozen=True)
class BenchRequest:
    """What to score, by which rules, and where it goes."""

    out: Path
    """Answers, generated images and results; several benchmarks and modes share it."""
    model: str | None = None
    """Who samples, as ``diffusers:ID``, ``openai-images:MODEL`` or ``NAME[:DIR]``; or `images`."""
    images: Path | None = None
    """A folder (or an index file) of images in the benchmark's official layout."""
    name: str = ""
    """How tables call it; empty: after the model or the folder of images."""
    data: Path | None = None
    """Folder of the official files, one folder a benchmark below it; None: where they are by default."""
    categories: tuple[str, ...] = ()
    limit: int | None = None
    """Score about this many prompts only; marks the result as a subset."""
    shard: tuple[int, int] | None = None
    """(i, n): do the blocks of prompts with number i modulo n; whoever finds all done writes the result."""
    mode: Literal["official", "fixed"] = "official"
    judges: Mapping[str, str] = field(default_factory=dict)
    """Role -> ``NAME[:PATH]`` in place of the official judge, or :data:`LEFT_OUT`."""
    allow_missing: bool = False
    """Score what is there; marks the result as partial."""
    until: Literal["generate", "judge"] | None = None
    """Stop when all images are sampled, or when all answers are stored."""
    canaries: Literal["stop", "warn", "off"] = "stop"
    one_judge: bool = False
    """Keep one judge in memory at a time; changes memory and time, not the result."""
    sets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Options as text, by role of the judge, or under "generator"."""
    official_files: bool = False
    """Write beside the result what the official scripts write, for programs that read it."""
    dry_run: bool = False
    """Tell how much there is to sample and to ask, and do nothing of it."""


@dataclass(frozen=True)
class BenchOutcome:
    """Where a result lies; None where `until` stopped before it."""

    benchmark: str
    result: Path | None
    """The JSON file; its tables lie beside it."""


@runtime_checkable
class ImageBench(Protocol):
    """A benchmark that scores images of any origin."""

    @property
    def takes_options_for(self) -> Collection[str]:
        """The kinds of ``--set KIND.OPTION=VALUE`` that it knows beside its own name."""
        ...

    def bench(
        self,
        request: BenchRequest,
        *,
        registry: Registry,
        progress: Progress,
        note: Callable[[str], None],
    ) -> BenchOutcome:
        """Sample what is missing, ask the judges what is not answered yet, apply the rules.

        Raises:
            UsageError: a judge, a model or a category that cannot work.
            DataError: images or data files that are missing or malformed, each named; a judge whose
                weights are missing.
            Incomplete: with `shard`: this part is done, others are not.
        """
        ...
