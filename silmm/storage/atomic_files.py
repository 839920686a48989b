"""Files and folders that are the old state or the new one, never in between."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from silmm.errors import DataError, OutOfSpace

if TYPE_CHECKING:
    pass


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
    for path in sorted(run_dir.glob(f"{TEMPORARY}*")):
        if unfinished(path.name) == REPORT:
            _delete(path)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        path.unlink(missing_ok=True)
