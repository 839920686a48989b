"""Scores the images of one model or folder on several benchmarks, one after the other."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from silmm.bench.leaderboard.results import Result, read_result
from silmm.bench.requests import BenchRequest, ImageBench, Progress
from silmm.contracts.options import Given, complete, split_assignment
from silmm.errors import Incomplete, UsageError
from silmm.registry.registry import Registry
from silmm.suggestions import did_you_mean, listed


@dataclass
class BenchmarkScores:
    """What came of several benchmarks."""

    results: list[Result] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    """Per benchmark whose other shards are not done, the message that says so."""


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
    """Score images on benchmarks, or go on with what the same arguments began.

    It does what `silmm bench` does. Give either `images` or `model`.

    Args:
        benchmarks: name of a benchmark, or several names.
        images: a folder of images in the benchmark's official layout; of several benchmarks, a folder that holds one
            per benchmark.
        model: who samples the images: ``NAME[:DIR]``, ``diffusers:ID``, ``openai-images:MODEL``.
        sets: options of the generator, of judges by role and of benchmarks by name, as ``{"generator.steps": 30}``
            or ``["generator.steps=30"]``.
        out: where answers, sampled images and results go; None: a folder in ``bench/`` called after the images.
        registry: where components are registered; None: the installed plugins.
        progress: called with a stage, how much of it is done, and of how much.
        note: called with one-line messages.
        request: further fields of :class:`silmm.bench.requests.BenchRequest`: ``limit``, ``mode``, ``categories``,
            ``judges``, ``data``, ….

    Returns:
        One result per benchmark; none where `until` stopped before it.

    Raises:
        UsageError: an unknown name or option, or a combination that cannot work.
        DataError: images, data files or weights are missing or broken; nothing was scored.
        Incomplete: with `shard`: this part is done, others are not.
    """
    known = [item.name for item in fields(BenchRequest)]
    for key in request:
        if key not in known:
            raise UsageError(f"bench takes no {key!r}{did_you_mean(key, known)} It takes: {listed(known)}.")
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
    components = {name: _build(registry, name, request.sets.get(name, {})) for name in dict.fromkeys(names)}
    _check_kinds(request.sets, components)
    scores = BenchmarkScores()
    for name, component in components.items():
        own = _own_images(request, name) if len(components) > 1 else request
        try:
            outcome = component.bench(own, registry=registry, progress=progress, note=note)
        except Incomplete as error:  # the other benchmarks have work for this shard too
            scores.waiting.append(str(error))
            continue
        if outcome.result is not None:
            scores.results.append(read_result(outcome.result))
    return scores


def _build(registry: Registry, name: str, options: Mapping[str, str]) -> ImageBench:
    entry = registry.entry("benchmark", name)
    texts = {key: Given(value, f"--set {name}.{key}", text=True) for key, value in options.items()}
    component = registry.build("benchmark", name, complete(entry.options, f"benchmark {name!r}", texts))
    if not isinstance(component, ImageBench):
        raise UsageError(f"the benchmark {name!r} scores no images; it is one for `silmm run`")
    return component


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
        "there, called after the benchmark (or NAME.json for an index of files)"
    )


def _check_kinds(sets: Mapping[str, Any], components: Mapping[str, ImageBench]) -> None:
    known = {*components, *(kind for component in components.values() for kind in component.takes_options_for)}
    for kind in sets:
        if kind not in known:
            raise UsageError(
                f"--set {kind}.…: there is no such kind here{did_you_mean(kind, known)} Kinds: {listed(known)}."
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
    """Name the folder after whose images are scored, so that the same call finds its answers."""
    folder = (images or Path()).resolve()
    source = model or str(folder)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", model or folder.name).strip(".-") or "images"
    return Path("bench") / f"{name[:60]}-{hashlib.sha256(source.encode()).hexdigest()[:8]}"
