"""The stage `generate`: samples the images that are not there yet, each from its own prompt and seed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silmm.bench.answer_store import AnswerStore
from silmm.contracts.benchmarks import ImageBenchmark, Item
from silmm.contracts.generators import GenerationFailure, Generator
from silmm.errors import PluginError, SettingsChanged, SilmmError
from silmm.storage.atomic_files import atomic_write
from silmm.storage.json_files import read_json, to_json

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGES = "images"
"""Folder of the generated images, in the benchmark's official layout."""
RECORD = "generator.json"
"""Beside it: who sampled them, and how."""
FAILURES = "failures"
NO_MATTER = frozenset({
    "device", "batch", "batch_size", "concurrency", "requests_per_minute", "attempts", "timeout", "price",
})
"""Options of generators and judges on which neither images nor answers depend, but by rounding."""


@dataclass(frozen=True)
class SampledFile:
    """One file to sample: an item's images that share a target."""

    item: Item
    indices: tuple[int, ...]
    path: Path


def targets(benchmark: ImageBenchmark, folder: Path, items: Sequence[Item]) -> list[SampledFile]:
    """Return every file that the items' images go to."""
    found = []
    for item in items:
        places: dict[Path, list[int]] = {}
        for index in range(item.images):
            places.setdefault(benchmark.target(folder, item, index), []).append(index)
        found += [SampledFile(item, tuple(indices), path) for path, indices in places.items()]
    return found


def recorded(home: Path) -> Mapping[str, Any] | None:
    """Return what `home` says of who sampled its images, or None."""
    path = home / RECORD
    return read_json(path) if path.is_file() else None


def sample(
    benchmark: ImageBenchmark,
    items: Sequence[Item],
    home: Path,
    *,
    spec: str,
    options: Mapping[str, Any],
    open_generator: Callable[[], Generator],
    progress: Callable[[int, int], None],
    note: Callable[[str], None],
) -> Mapping[str, Any]:
    """Sample what is missing under `home` and return its record: spec, options, identity of the generator.

    What is there goes on only under the generator that sampled it: its identity decides, whatever it was called
    and wherever it computes. It is opened only if something is to be sampled, or if it is asked for otherwise
    than before. Refusals and other failures that another try would not change are kept, and not tried again.

    Raises:
        SettingsChanged: `home` holds images of another generator or of other settings.
        UsageError, DataError, PluginError: the generator cannot work, or stopped; the disk refused.
    """
    record = recorded(home)
    asked = {"spec": spec, "options": dict(options)}
    failures = AnswerStore(home / FAILURES).load()
    files = targets(benchmark, home / IMAGES, items)
    waiting = [
        one for one in files
        if not one.path.is_file() and (one.item.id, _of(one.indices)) not in failures
    ]
    done, total = sum(len(one.indices) for one in files), sum(len(one.indices) for one in files)
    done -= sum(len(one.indices) for one in waiting)
    progress(done, total)
    if not waiting and record is not None and _said(record) == _said(asked):
        return record
    generator = open_generator()
    identity = json.loads(to_json(dict(generator.identity)))
    if record is None:
        record = {**asked, "identity": identity}
        atomic_write(home / RECORD, to_json(record))
    elif record.get("identity") != identity:
        raise _other(home, record, {**asked, "identity": identity})
    if not waiting:
        return record
    if cost := generator.announce(sum(len(one.indices) for one in waiting)):
        note(cost)
    for group in _groups(waiting, generator.batch_size):
        _sample(benchmark, generator, group, failures, note)
        done += sum(len(one.indices) for one in group)
        progress(done, total)
    return record


def failed(home: Path) -> dict[str, str]:
    """Return why items have no image, by item id."""
    store = AnswerStore(home / FAILURES).load()
    return {item: f"{told['reason']}: {told['detail']}" for (item, _), told in store.items()}


def _of(indices: Sequence[int]) -> str:
    return ",".join(map(str, indices))


def _groups(files: Sequence[SampledFile], size: int) -> Iterator[list[SampledFile]]:
    """Yield files whose images together fill a batch of the generator."""
    group: list[SampledFile] = []
    for one in files:
        group.append(one)
        if sum(len(sampled.indices) for sampled in group) >= size:
            yield group
            group = []
    if group:
        yield group


def _sample(
    benchmark: ImageBenchmark,
    generator: Generator,
    group: Sequence[SampledFile],
    failures: AnswerStore,
    note: Callable[[str], None],
) -> None:
    wanted = [(one, index) for one in group for index in one.indices]
    size = max(1, generator.batch_size)
    images: list[Image | GenerationFailure] = []
    for start in range(0, len(wanted), size):
        images += _generated(benchmark, generator, wanted[start : start + size])
    kept: list[tuple[tuple[str, str], Any]] = []
    rest = iter(images)
    for one in group:
        sampled = [next(rest) for _ in one.indices]
        bad = [image for image in sampled if isinstance(image, GenerationFailure)]
        if bad:
            note(f"no image of {one.item.id}: {bad[0].reason}: {bad[0].detail}")
            if all(failure.final for failure in bad):
                told = {"reason": bad[0].reason, "detail": bad[0].detail}
                kept.append(((one.item.id, _of(one.indices)), told))
            continue
        whole = benchmark.join([image for image in sampled if not isinstance(image, GenerationFailure)])
        atomic_write(one.path, _png(whole))
    failures.commit(kept)


def _generated(
    benchmark: ImageBenchmark, generator: Generator, part: Sequence[tuple[SampledFile, int]]
) -> list[Image | GenerationFailure]:
    """Sample one batch.

    Raises:
        PluginError: the generator raised what is no error of ours; the message names the prompts.
    """
    prompts = [one.item.prompt for one, _ in part]
    try:
        return generator.generate(prompts, [benchmark.seed(one.item, index) for one, index in part])
    except SilmmError:
        raise
    except Exception as error:  # pipelines and models are anybody's code
        first, index = part[0]
        raise PluginError(
            f"sampling stopped over {len(part)} images from {first.item.id}, image {index} on: "
            f"{type(error).__name__}: {error}. What was sampled before is kept, and the same command goes on "
            "there. If memory was short, --set generator.batch_size=1 needs the least. SILMM_DEBUG=1 shows "
            "where it stopped."
        ) from error


def _png(image: Image) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="PNG", compress_level=4)
    return buffer.getvalue()


def _said(record: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the generator's name and those options that its images depend on."""
    options = record.get("options") or {}
    return record.get("spec"), {name: value for name, value in options.items() if name not in NO_MATTER}


def _other(home: Path, record: Mapping[str, Any], asked: Mapping[str, Any]) -> SettingsChanged:
    """Say in what the generator of the images that are there differs from the one that is asked for."""
    flat, now = _flat(record), _flat(asked)
    told = "; ".join(
        f"{key}: {flat.get(key)!r} there, {now.get(key)!r} now"
        for key in sorted({*flat, *now}) if flat.get(key) != now.get(key)
    )
    return SettingsChanged(
        f"{home} holds images that were sampled otherwise ({told}). Take another --out, or the settings "
        "of these images, or score them as they are with --images."
    )


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    spec, options = _said(record)
    identity = record.get("identity") or {}
    return {
        "spec": spec, **{f"options.{name}": value for name, value in options.items()},
        **{f"identity.{name}": value for name, value in identity.items()},
    }
