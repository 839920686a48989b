"""What `silmm bench` is asked to do, and what the result file of such a request is called."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from silmm.bench.image_generation import NOT_IDENTIFYING
from silmm.contracts.options import canonical

if TYPE_CHECKING:
    from silmm.contracts.benchmarks import Benchmark

Progress = Callable[[str, int, int], None]
"""Called with a stage, how much of it is done, and its total."""
PARTIAL, UNCHECKED = "partial", "unchecked"
"""First words of the marks that appear in the name of a result file."""


@dataclass(frozen=True)
class BenchRequest:
    """What to score, by which rules, and where the results go."""

    out: Path
    """Answers, generated images and results; several benchmarks and modes share it."""
    model: str | None = None
    """The generator, as ``diffusers:ID``, ``openai-images:MODEL`` or ``NAME[:DIR]``; or `images`."""
    images: Path | None = None
    """A folder (or an index file) of images in the benchmark's official layout."""
    name: str = ""
    """The name of the model in tables; empty: after the model or the folder of images."""
    data: Path | None = None
    """Folder of the official files, with one folder per benchmark; None: the default one."""
    categories: tuple[str, ...] = ()
    limit: int | None = None
    """Score about this many prompts only; marks the result as a subset."""
    shard: tuple[int, int] | None = None
    """(i, n): do the blocks of prompts with number i modulo n; the shard that finds all done writes the result."""
    mode: Literal["official", "fixed"] = "official"
    judges: Mapping[str, str] = field(default_factory=dict)
    """Role -> ``NAME[:PATH]`` in place of the official judge, or :data:`silmm.contracts.judges.LEFT_OUT`."""
    allow_missing: bool = False
    """Score the images that exist; marks the result as partial."""
    until: Literal["generate", "judge"] | None = None
    """Stop when all images are sampled, or when all answers are stored."""
    canaries: Literal["stop", "warn", "off"] = "stop"
    one_judge: bool = False
    """Keep one judge in memory at a time; changes memory and time, not the result."""
    sets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Options as text, by role of the judge, or under "generator" or "model"."""
    official_files: bool = False
    """Write beside the result what the official scripts write, for programs that read it."""
    dry_run: bool = False
    """Report how much there is to sample and to ask, and do nothing of it."""


def result_name(benchmark: Benchmark, request: BenchRequest, marks: Sequence[str]) -> str:
    """Return the name of a result file without its suffix; only a full official result has the plain name.

    Args:
        benchmark: the benchmark.
        request: how it was scored.
        marks: why it is no full result.
    """
    parts = [benchmark.name, request.mode]
    if request.categories:
        parts.append("+".join(sorted(request.categories)))
    if request.limit is not None:
        parts.append(f"limit-{request.limit}")
    if changes := _unofficial_choices(benchmark, request):
        parts.append(f"chosen-{hashlib.sha256(canonical(changes).encode()).hexdigest()[:8]}")
    parts += [word for word in (PARTIAL, UNCHECKED) if any(mark.startswith(word) for mark in marks)]
    return ".".join(parts)


def _unofficial_choices(benchmark: Benchmark, request: BenchRequest) -> dict[str, Any]:
    """Return the judges and the options, of judges and benchmark, that are not the official ones."""
    kinds = {benchmark.name, *benchmark.roles}
    options = {
        kind: {name: value for name, value in values.items() if name not in NOT_IDENTIFYING}
        for kind, values in request.sets.items() if kind in kinds
    }
    judges = {role: spec for role, spec in request.judges.items() if role in benchmark.roles}
    return {key: value for key, value in {**options, "judges": judges}.items() if value}
