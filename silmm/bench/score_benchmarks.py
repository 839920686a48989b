"""Scores the images of one model or folder on several benchmarks, one after the other."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from silmm.bench.bench_request import BenchRequest, Progress
from silmm.bench.leaderboard.results import Result, read_result
from silmm.bench.runner import build_benchmark, run_bench, set_kinds
from silmm.contracts.benchmarks import Benchmark, BenchmarkOptions
from silmm.contracts.options import Given, complete, split_assignment
from silmm.errors import Incomplete, UsageError
from silmm.registry.registry import Registry
from silmm.suggestions import did_you_mean, listed


@dataclass
class BenchmarkScores:
    """The results of several benchmarks."""

    results: list[Result] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    """Messages of the benchmarks whose other shards are not done."""


def bench(
    benchmarks: str | Sequence[str],
    *,
    images: str | Path | None = None,
    model: str | None = None,
    sets: Mapping[str, object] | Sequence[str] = (),
    out: str | Path | None = None,
    registry: Registry | None = None,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
    **request: Any,
) -> list[Result]:
    """Score images on benchmarks, or go on where a call with the same arguments stopped.

    It does what `silmm bench` does. Give either `images` or `model`.

    Args:
        benchmarks: name of a benchmark, or several names.
        images: a folder of images in the benchmark's official layout; for several benchmarks, a folder with one folder
            per benchmark.
        model: the generator of the images: ``NAME[:DIR]``, ``diffusers:ID``, ``openai-images:MODEL``.
        sets: options of the generator, of judges by role and of benchmarks by name, as ``{"generator.steps": 30}``
            or ``["generator.steps=30"]``.
        out: where answers, sampled images and results go; None: a folder in ``bench/`` named after the model or the
            images.
        registry: where components are registered; None: the installed plugins.
        progress: called with a stage, how much of it is done, and its total.
        note: called with one-line messages.
        request: further fields of :class:`silmm.bench.bench_request.BenchRequest`: ``limit``, ``mode``, ``categories``,
            ``judges``, ``data``, ….

    Returns:
        One result per benchmark; none where `until` stopped before it.

    Raises:
        UsageError: an unknown name or option, or a combination that cannot work.
        DataError: images, data files or weights are missing or broken; nothing was scored.
        Incomplete: with `shard`: this part is done, others are not.
    """
    names = [item.name for item in fields(BenchRequest)]
    for key in request:
        if key not in names:
            raise UsageError(f"bench takes no {key!r}{did_you_mean(key, names)} It takes: {listed(names)}.")
    folder = None if images is None else Path(images)
    scores = score_benchmarks(
        [benchmarks] if isinstance(benchmarks, str) else benchmarks,
        BenchRequest(
            out=default_out(model, folder) if out is None else Path(out), model=model, images=folder,
            sets=parse_sets(sets), **request,
        ),
        registry=registry or Registry.load(), progress=progress or _silent, note=note or _silent,
    )
    if scores.waiting:
        raise Incomplete("\n".join(scores.waiting))
    return scores.results


def _silent(*_: object) -> None:
    """Show nothing."""


def score_benchmarks(
    names: Sequence[str],
    request: BenchRequest,
    *,
    registry: Registry,
    progress: Progress,
    note: Callable[[str], None],
) -> BenchmarkScores:
    """Score `request` on each benchmark; names, kinds and options of all are checked before the first begins.

    Raises:
        UsageError, DataError: as :func:`bench`.
    """
    benchmarks = [_build(registry, name, request.sets.get(name, {})) for name in dict.fromkeys(names)]
    _check_kinds(request.sets, benchmarks)
    scores = BenchmarkScores()
    for benchmark in benchmarks:
        own = _own_images(request, benchmark.name) if len(benchmarks) > 1 else request
        try:
            path = run_bench(benchmark, own, registry=registry, progress=progress, note=note)
        except Incomplete as error:  # the other benchmarks have work for this shard too
            scores.waiting.append(str(error))
            continue
        if path is not None:
            scores.results.append(read_result(path))
    return scores


def _build(registry: Registry, name: str, options: Mapping[str, str]) -> Benchmark:
    entry = registry.entry("benchmark", name)
    for key in options:
        if key in BenchmarkOptions.model_fields:
            raise UsageError(
                f"--set {name}.{key}: this option is for silmm run --benchmark {name}. Here write --judge, --mode, "
                f"--canaries, --set ROLE.OPTION=VALUE, or --set generator.{key}=…"
            )
    texts = {key: Given(value, f"--set {name}.{key}", text=True) for key, value in options.items()}
    return build_benchmark(registry, name, complete(entry.options, f"benchmark {name!r}", texts))


def _own_images(request: BenchRequest, name: str) -> BenchRequest:
    """Return the request of one of several benchmarks, which share a folder of images by their names."""
    if request.images is None:
        return request
    inside = request.images / name
    for candidate in (inside, inside.with_suffix(".json")):
        if candidate.exists():
            return replace(request, images=candidate, name=request.name or str(request.images))
    raise UsageError(
        f"--images {request.images} has no folder {name}: with several benchmarks each has its own folder "
        "there, named after the benchmark (or NAME.json for an index of files)"
    )


def _check_kinds(sets: Mapping[str, Any], benchmarks: Sequence[Benchmark]) -> None:
    kinds = {kind for benchmark in benchmarks for kind in (benchmark.name, *set_kinds(benchmark))}
    for kind in sets:
        if kind not in kinds:
            raise UsageError(
                f"--set {kind}.…: there is no such kind here{did_you_mean(kind, kinds)} Kinds: {listed(kinds)}."
            )


def parse_sets(sets: Mapping[str, object] | Sequence[str]) -> dict[str, dict[str, str]]:
    """Read ``KIND.OPTION=VALUE`` texts, of which later ones win, or a mapping of ``KIND.OPTION`` to the value.

    Raises:
        UsageError: a text has no kind, option or value.
    """
    texts = [f"{key}={value}" for key, value in sets.items()] if isinstance(sets, Mapping) else sets
    options: dict[str, dict[str, str]] = {}
    for text in texts:
        kind, option, value = split_assignment(text)
        if not kind:
            raise UsageError(f"--set {text!r} names no kind; write for example --set generator.steps=30")
        options.setdefault(kind, {})[option] = value
    return options


def default_out(model: str | None, images: Path | None) -> Path:
    """Name the folder after the model or the images, so that the same call finds its answers."""
    folder = (images or Path()).resolve()
    source = model or str(folder)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", model or folder.name).strip(".-") or "images"
    return Path("bench") / f"{name[:60]}-{hashlib.sha256(source.encode()).hexdigest()[:8]}"
