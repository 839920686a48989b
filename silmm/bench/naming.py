"""What a result file is called: nothing that is less than the full official result takes its name."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from silmm.bench.sampling import NO_MATTER
from silmm.contracts.options import canonical

if TYPE_CHECKING:
    from silmm.bench.requests import BenchRequest
    from silmm.contracts.benchmarks import ImageBenchmark

PARTIAL, UNCHECKED = "partial", "unchecked"
"""How marks begin that have a place in the name."""


def result_name(benchmark: ImageBenchmark, request: BenchRequest, marks: Sequence[str]) -> str:
    """Return the name of a result's file without its suffix.

    Args:
        benchmark: what was scored.
        request: how.
        marks: why it is no full result.
    """
    parts = [benchmark.name, request.mode]
    if request.categories:
        parts.append("+".join(sorted(request.categories)))
    if request.limit is not None:
        parts.append(f"limit-{request.limit}")
    if chosen := _chosen(benchmark, request):
        parts.append(f"chosen-{hashlib.sha256(canonical(chosen).encode()).hexdigest()[:8]}")
    parts += [word for word in (PARTIAL, UNCHECKED) if any(mark.startswith(word) for mark in marks)]
    return ".".join(parts)


def _chosen(benchmark: ImageBenchmark, request: BenchRequest) -> dict[str, Any]:
    """Return the judges and the options, of them and of the benchmark, that are not the official ones."""
    kinds = {benchmark.name, *benchmark.roles}
    options = {
        kind: {name: value for name, value in given.items() if name not in NO_MATTER}
        for kind, given in request.sets.items() if kind in kinds
    }
    named = {role: spec for role, spec in request.judges.items() if role in benchmark.roles}
    return {key: value for key, value in {**options, "judges": named}.items() if value}
