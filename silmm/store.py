"""The run store: files that are the old or the new one, and shards that prove what they hold."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from silmm.errors import DataError, OutOfSpace

if TYPE_CHECKING:
    import pyarrow as pa

TEMPORARY = ".tmp-"
_UNFINISHED = re.compile(r"\.tmp-(?P<name>.+)-\d+-[0-9a-f]{8}")
"""Names of unfinished writes (see `_temporary`); nothing else is ever deleted as such."""
REPORT = "report"
"""The one folder of a run directory that is written without holding it, under a lock of its own."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def disk_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn errors of the operating system on `path` into ours.

    Raises:
        OutOfSpace: the disk or the quota is full.
        DataError: anything else that the system refuses (rights, I/O errors, a missing file).
    """
    try:
        with full_disk(path, doing):
            yield
    except OSError as error:
        raise DataError(
            f"Could not go on {doing} {path}: {error}. Check the disk and the rights of the file, "
            "then run the same command again."
        ) from error


@contextmanager
def full_disk(path: Path, doing: str) -> Iterator[None]:
    """Turn a full disk under `path` into OutOfSpace; other errors pass."""
    try:
        yield
    except Exception as error:
        # Native writers (safetensors, Arrow) report a full disk in words, without an errno.
        in_words = "No space left on device" in str(error)
        if in_words or (isinstance(error, OSError) and error.errno in FULL):
            raise OutOfSpace(
                f"No space left while {doing} {path}. Everything committed before is intact: "
                "free some space and run the same command again."
            ) from error
        raise


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create `folder` and its missing parents, each durable in its own parent.

    Raises:
        OutOfSpace, DataError: the system refused it.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with disk_errors(folder, "creating"):
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def _replace(source: Path, target: Path) -> None:
    os.replace(source, target)  # noqa: PTH105  # one seam with the other calls of this module


def _temporary(path: Path) -> Path:
    return path.parent / f"{TEMPORARY}{path.name}-{os.getpid()}-{secrets.token_hex(4)}"


def _write_durably(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest):]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write(path: Path, data: bytes) -> None:
    """Write `data` to `path` such that a reader, or a restart, finds the old file or the new one.

    Temporary file in the same directory, fsync, `os.replace`, fsync of the directory. Accepted: an
    error of the last fsync is raised although the new file may be in place already.

    Raises:
        OutOfSpace: the disk is full; `path` is as it was.
        DataError: the system refused the write; `path` is as it was.
    """
    make_folder(path.parent)
    temporary = _temporary(path)
    with disk_errors(path, "writing"):
        try:
            _write_durably(temporary, data)
            _replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a fresh folder to fill; when the body ends well it becomes `path`, whole and durable.

    Accepted: where `path` exists already it is moved aside first, so a kill between the two renames
    leaves no folder at `path`; callers take a missing folder as work that is still to be done.

    Raises:
        OutOfSpace: the disk is full; `path` is as it was.
        DataError: the system refused the write.
    """
    make_folder(path.parent)
    temporary = _temporary(path)
    try:
        with disk_errors(path, "writing"):
            temporary.mkdir()
        with full_disk(path, "writing"):
            yield temporary
        with disk_errors(path, "writing"):
            _sync_tree(temporary)
            _put_in_place(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    with disk_errors(path, "writing"):
        sync_folder(path.parent)


def _sync_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            descriptor = os.open(Path(parent, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(parent))


def _put_in_place(temporary: Path, path: Path) -> None:
    if not path.exists():
        _replace(temporary, path)
        return
    aside = _temporary(path)
    _replace(path, aside)
    try:
        _replace(temporary, path)
    except BaseException:
        _replace(aside, path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def unfinished(name: str) -> str | None:
    """Return what the file or folder `name` was to be called, if it is an unfinished write of ours."""
    match = _UNFINISHED.fullmatch(name)
    return match["name"] if match else None


def clean_leftovers(run_dir: Path) -> None:
    """Delete what killed processes left half written under `run_dir`, but for a report.

    Only for a process that holds the run directory alone. Somebody else may be writing the report: whoever
    writes it next deletes what is left of it (:func:`clean_report`).
    """
    for parent, folders, files in os.walk(run_dir):  # names that vanish meanwhile do not matter to it
        for name in sorted([*folders, *files]):
            if unfinished(name) and (Path(parent), unfinished(name)) != (run_dir, REPORT):
                _delete(Path(parent, name))


def clean_report(run_dir: Path) -> None:
    """Delete what a killed process left of a half-written report, under the lock of the report."""
    for found in sorted(run_dir.glob(f"{TEMPORARY}*")):
        if unfinished(found.name) == REPORT:
            _delete(found)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        path.unlink(missing_ok=True)


def to_json(value: Mapping[str, Any]) -> bytes:
    """Return `value` as JSON bytes, the same for the same content."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def read_json(path: Path, remedy: str = "Delete it; it will be made again.") -> dict[str, Any]:
    """Read a JSON object; `remedy` ends the message where the file is not one.

    Raises:
        DataError: the file is missing, unreadable or not a JSON object.
    """
    with disk_errors(path, "reading"):
        data = path.read_bytes()
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:  # the latter: endless nesting
        raise DataError(f"{path} is not valid JSON ({error}). {remedy}") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} holds no JSON object. {remedy}")
    return value


@contextmanager
def well_formed(path: Path, remedy: str = "Delete it; it will be made again.") -> Iterator[None]:
    """Turn a key that is missing in the content of `path`, or a value of another kind, into DataError.

    Raises:
        DataError: the body raised what reading such content raises.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} does not hold what it should ({error!r}). {remedy}") from error


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal.

    Raises:
        DataError: the file is missing or unreadable.
    """
    digest = hashlib.sha256()
    with disk_errors(path, "reading"), path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Return metrics as JSON can hold them: null where a value is not finite."""
    return {
        name: float(value) if math.isfinite(value) else None for name, value in metrics.items()
    }


@dataclass(frozen=True)
class Shards:
    """The shards of one table of one stage: `shard-00000.parquet` with its commit record beside it.

    The record (`shard-00000.json`: SHA-256, bytes, rows, counts) is written after the data, so a
    shard is committed exactly when its record is there. Processes that share the folder never write
    the same file but with the same bytes. `manifest.json` gathers all records at the end.
    """

    folder: Path
    count: int
    suffix: ClassVar[str] = ".parquet"

    def data(self, index: int) -> Path:
        """Return the path of a shard's data."""
        return self.folder / f"shard-{index:05d}{self.suffix}"

    def record_path(self, index: int) -> Path:
        """Return the path of a shard's commit record."""
        return self.data(index).with_suffix(".json")

    def done(self, index: int) -> bool:
        """Say whether a shard is committed (its bytes are checked when they are read)."""
        return self.data(index).is_file() and self.record_path(index).is_file()

    def missing(self) -> list[int]:
        """Return the shards that are still to be done."""
        return [index for index in range(self.count) if not self.done(index)]

    def commit(self, index: int, table: pa.Table, counts: Mapping[str, int] | None = None) -> None:
        """Store a shard and then its record; `counts` says what was left out and why.

        Raises:
            OutOfSpace: the disk is full.
            DataError: the system refused the write.
        """
        from silmm.tables import to_parquet

        self._commit(index, to_parquet(table), table.num_rows, counts or {})

    def _commit(self, index: int, data: bytes, rows: int, counts: Mapping[str, int]) -> None:
        atomic_write(self.data(index), data)
        record = {
            "bytes": len(data),
            "counts": dict(counts),
            "rows": rows,
            "sha256": hashlib.sha256(data).hexdigest(),
            "status": "complete",
        }
        atomic_write(self.record_path(index), to_json(record))

    def read(self, index: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Return a shard, or some of its columns, after checking its bytes against its record.

        Raises:
            DataError: the shard is missing, unreadable or not the one that was committed.
        """
        from silmm.tables import from_parquet

        path = self.data(index)
        with disk_errors(path, "reading"):
            data = path.read_bytes()
        self._check(index, hashlib.sha256(data).hexdigest())
        return from_parquet(data, path, columns)

    def _check(self, index: int, actual: str) -> None:
        path, expected = self.data(index), read_json(self.record_path(index)).get("sha256")
        if actual != expected:
            raise DataError(
                f"{path} is corrupt: its SHA-256 is {actual}, the record says {expected}. "
                "Delete this file and run the same command again: the shard will be made again."
            )

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the shards in order, each checked."""
        for index in range(self.count):
            yield self.read(index, columns)

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all shards as one table."""
        import pyarrow as pa

        return pa.concat_tables(self.tables(columns))

    def totals(self) -> dict[str, int]:
        """Return rows and counts summed over the shards' records."""
        totals = {"rows": 0}
        for index in range(self.count):
            record = read_json(self.record_path(index))
            with well_formed(self.record_path(index)):
                totals["rows"] += int(record["rows"])
                for reason, number in record["counts"].items():
                    totals[reason] = totals.get(reason, 0) + int(number)
        return totals

    def seal(self) -> dict[str, Any]:
        """Write `manifest.json` from the shards' records and return it."""
        shards = {
            self.data(index).name: read_json(self.record_path(index)) for index in range(self.count)
        }
        manifest = {"shards": shards, "status": "complete", "totals": self.totals()}
        path = self.folder / "manifest.json"
        data = to_json(manifest)
        if not (path.is_file() and path.read_bytes() == data):
            atomic_write(path, data)
        return manifest
