"""The stage `generate`: samples the images that do not exist yet, each from its own prompt and seed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silmm.bench.judging.answer_store import AnswerStore
from silmm.contracts.benchmarks import Benchmark, Item
from silmm.contracts.generators import GenerationFailure, Generator
from silmm.errors import PluginError, SettingsChanged, SilmmError
from silmm.storage.atomic_files import atomic_write
from silmm.storage.json_files import read_json, to_json

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGES = "images"
"""Folder of the generated images, in the benchmark's official layout."""
RECORD = "generator.json"
"""Beside it: which generator sampled them, with which options."""
FAILURES = "failures"
NOT_IDENTIFYING = frozenset({
    "device", "batch", "batch_size", "concurrency", "requests_per_minute", "attempts", "timeout", "price",
})
"""Options of generators and judges on which images and answers do not depend, except by rounding."""


@dataclass(frozen=True)
class TargetFile:
    """One file to sample: the images of an item that share a target."""

    item: Item
    indices: tuple[int, ...]
    path: Path

    @property
    def key(self) -> tuple[str, str]:
        """Key of its failure in the store."""
        return self.item.id, ",".join(map(str, self.indices))


def targets(benchmark: Benchmark, folder: Path, items: Sequence[Item]) -> list[TargetFile]:
    """Return every file that the items' images go to."""
    files = []
    for item in items:
        by_path: dict[Path, list[int]] = {}
        for index in range(item.images):
            by_path.setdefault(benchmark.target(folder, item, index), []).append(index)
        files += [TargetFile(item, tuple(indices), path) for path, indices in by_path.items()]
    return files


def read_record(home: Path) -> Mapping[str, Any] | None:
    """Return the record of the generator whose images `home` holds, or None."""
    path = home / RECORD
    return read_json(path) if path.is_file() else None


def sample_images(
    benchmark: Benchmark,
    items: Sequence[Item],
    home: Path,
    *,
    spec: str,
    options: Mapping[str, Any],
    open_generator: Callable[[], Generator],
    progress: Callable[[int, int], None],
    note: Callable[[str], None],
) -> Mapping[str, Any]:
    """Sample the missing images under `home` and return the record: spec, options, identity of the generator.

    Existing images are continued only by the generator that sampled them: its identity decides, whatever its name
    is and wherever it computes. It is opened only if images are missing, or if its spec or options changed. Final
    failures, such as refusals, are kept and not tried again.

    Raises:
        SettingsChanged: `home` holds images of another generator or of other settings.
        UsageError, DataError, PluginError: the generator cannot work, or stopped; the disk refused.
    """
    record = read_record(home)
    asked = {"spec": spec, "options": dict(options)}
    failures = AnswerStore(home / FAILURES).load()
    files = targets(benchmark, home / IMAGES, items)
    waiting = [file for file in files if not file.path.is_file() and file.key not in failures]
    total = _image_count(files)
    done = total - _image_count(waiting)
    progress(done, total)
    if not waiting and record is not None and _identifying(record) == _identifying(asked):
        return record
    generator = open_generator()
    identity = json.loads(to_json(dict(generator.identity)))
    if record is None:
        record = {**asked, "identity": identity}
        atomic_write(home / RECORD, to_json(record))
    elif record.get("identity") != identity:
        raise _settings_changed(home, record, {**asked, "identity": identity})
    if not waiting:
        return record
    if cost := generator.announce(_image_count(waiting)):
        note(cost)
    for group in _groups(waiting, generator.batch_size):
        _sample_group(benchmark, generator, group, home, failures, note)
        done += _image_count(group)
        progress(done, total)
    return record


def failures_by_item(home: Path) -> dict[str, str]:
    """Return why items have no image, by item id."""
    store = AnswerStore(home / FAILURES).load()
    return {item: f"{failure['reason']}: {failure['detail']}" for (item, _), failure in store.items()}


def _image_count(files: Sequence[TargetFile]) -> int:
    return sum(len(file.indices) for file in files)


def _groups(files: Sequence[TargetFile], size: int) -> Iterator[list[TargetFile]]:
    """Yield files whose images together fill a batch of the generator."""
    group: list[TargetFile] = []
    for file in files:
        group.append(file)
        if _image_count(group) >= size:
            yield group
            group = []
    if group:
        yield group


def _sample_group(
    benchmark: Benchmark,
    generator: Generator,
    group: Sequence[TargetFile],
    home: Path,
    failures: AnswerStore,
    note: Callable[[str], None],
) -> None:
    wanted = [(file, index) for file in group for index in file.indices]
    size = max(1, generator.batch_size)
    images: list[Image | GenerationFailure] = []
    for start in range(0, len(wanted), size):
        images += _sample_batch(benchmark, generator, wanted[start : start + size])
    kept: list[tuple[tuple[str, str], Any]] = []
    rest = iter(images)
    for file in group:
        of_file = [next(rest) for _ in file.indices]
        failed = [image for image in of_file if isinstance(image, GenerationFailure)]
        if failed:
            note(f"no image of {file.item.id}: {failed[0].reason}: {failed[0].detail}")
            if all(failure.final for failure in failed):
                kept.append((file.key, {"reason": failed[0].reason, "detail": failed[0].detail}))
            continue
        joined = benchmark.join([image for image in of_file if not isinstance(image, GenerationFailure)])
        atomic_write(file.path, _png(joined))
        for path, text in benchmark.accompanying_files(home / IMAGES, file.item).items():
            if not path.is_file():
                atomic_write(path, text.encode())
    failures.commit(kept)


def _sample_batch(
    benchmark: Benchmark, generator: Generator, batch: Sequence[tuple[TargetFile, int]]
) -> list[Image | GenerationFailure]:
    """Sample one batch.

    Raises:
        PluginError: the generator raised an error that is none of ours; the message names the prompts.
    """
    prompts = [file.item.prompt for file, _ in batch]
    try:
        return generator.generate(prompts, [benchmark.seed(file.item, index) for file, index in batch])
    except SilmmError:
        raise
    except Exception as error:  # pipelines and models are third-party code
        first, index = batch[0]
        raise PluginError(
            f"sampling stopped over {len(batch)} images from {first.item.id}, image {index} on: "
            f"{type(error).__name__}: {error}. The images sampled before are kept, and the same command goes on "
            "there. If memory was short, --set generator.batch_size=1 needs the least. SILMM_DEBUG=1 shows "
            "where it stopped."
        ) from error


def _png(image: Image) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="PNG", compress_level=4)
    return buffer.getvalue()


def _identifying(record: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the generator's spec and those options that its images depend on."""
    options = record.get("options") or {}
    return record.get("spec"), {name: value for name, value in options.items() if name not in NOT_IDENTIFYING}


def _settings_changed(home: Path, record: Mapping[str, Any], asked: Mapping[str, Any]) -> SettingsChanged:
    """Say in what the generator of the existing images differs from the requested one."""
    before, now = _flat(record), _flat(asked)
    changes = "; ".join(
        f"{key}: {before.get(key)!r} there, {now.get(key)!r} now"
        for key in sorted({*before, *now}) if before.get(key) != now.get(key)
    )
    return SettingsChanged(
        f"{home} holds images that were sampled with other settings ({changes}). Take another --out, or the settings "
        "of these images, or score them as they are with --images."
    )


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    spec, options = _identifying(record)
    identity = record.get("identity") or {}
    return {
        "spec": spec, **{f"options.{name}": value for name, value in options.items()},
        **{f"identity.{name}": value for name, value in identity.items()},
    }
