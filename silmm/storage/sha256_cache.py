"""SHA-256 of files, kept from one start to the next: the 35 GB of a checkpoint are read once.

What is kept lies in the user's cache folder, one small JSON file for each large file. It is believed only
while path, size, times and inode are what they were. Nothing breaks when the folder is deleted.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from silmm.errors import DataError, SilmmError
from silmm.storage.atomic_files import atomic_write, disk_errors
from silmm.storage.json_files import read_json, to_json
from silmm.storage.user_folders import cache_root

LARGE = 1 << 20
"""Bytes from which on a digest is kept; what is smaller is read again."""
LONG = 1_000_000_000
"""Bytes from which on reading is announced: some seconds."""
READERS = 4
"""Files that are read at once: SHA-256 keeps one core busy, a disk more than one."""
_SETTLED = 2_000_000_000
"""Nanoseconds since the last change after which another one must show in the times of a file."""

Announce = Callable[[str], None]
"""Told in one sentence what is about to take long."""


@dataclass(frozen=True)
class Stamp:
    """What shows that a file may have changed."""

    path: str
    """Without symbolic links: two snapshots of a hub's cache share what they share."""
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """Look at a file.

        Raises:
            DataError: it is missing, or a link that leads nowhere.
        """
        with disk_errors(path, "reading"):
            real = path.resolve(strict=True)
            stat = real.stat()
        return cls(str(real), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


_digest_by_stamp: dict[Stamp, str] = {}
"""What this process has read, for where the cache folder cannot be written."""


def file_digests(paths: Sequence[Path], announce: Announce = lambda _: None) -> list[str]:
    """Return the SHA-256 of each file in hexadecimal, as :func:`silmm.storage.sha256_cache.sha256_file` does.

    Args:
        paths: the files.
        announce: told how much has to be read, where it takes long.

    Raises:
        DataError: a file is missing, unreadable, or changes while it is read.
    """
    stamps = [Stamp.of(path) for path in paths]
    cached = [_kept(stamp) for stamp in stamps]
    unread = sum(
        stamp.size for stamp, digest in zip(stamps, cached, strict=True)
        if digest is None and stamp.size >= LARGE
    )
    if unread >= LONG:
        where = os.path.commonpath([path.absolute() for path in paths])
        announce(f"reading {unread / 1e9:.1f} GB of {where} to know what they are; the next start need not")
    with ThreadPoolExecutor(READERS) as readers:
        return list(readers.map(_digest, paths, stamps, cached))


def _digest(path: Path, stamp: Stamp, kept: str | None) -> str:
    if kept is not None:
        return kept
    began = time.time_ns()
    digest = sha256_file(path)
    if Stamp.of(path) != stamp:
        raise DataError(f"{path} changed while it was read; wait until it is whole, and start again.")
    if stamp.size >= LARGE and began - max(stamp.mtime_ns, stamp.ctime_ns) > _SETTLED:
        _keep(stamp, digest)
    return digest


def _record(stamp: Stamp) -> Path:
    name = hashlib.sha256(os.fsencode(stamp.path)).hexdigest()
    return cache_root() / "sha256" / f"{name}.json"


def _kept(stamp: Stamp) -> str | None:
    """Return what is kept for a file as it is now."""
    if stamp in _digest_by_stamp:
        return _digest_by_stamp[stamp]
    with suppress(SilmmError):  # nothing is kept, or what is kept is damaged: the file is read
        record = read_json(_record(stamp))
        digest = record.pop("sha256", None)
        if isinstance(digest, str) and record == asdict(stamp):
            _digest_by_stamp[stamp] = digest
            return digest
    return None


def _keep(stamp: Stamp, digest: str) -> None:
    _digest_by_stamp[stamp] = digest
    with suppress(SilmmError):  # a full or read-only home stops no run
        atomic_write(_record(stamp), to_json({**asdict(stamp), "sha256": digest}))


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
