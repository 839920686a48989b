"""The lock of a run directory: one run works in it, or several with a shard each."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from silmm.errors import RunBusy
from silmm.storage.atomic_files import clean_leftovers, disk_errors, make_folder

SHARED_TRIES = 20
SHARED_PAUSE = 0.05
"""Seconds between tries: another shard holds the directory alone while it cleans up."""


@contextmanager
def hold(run_dir: Path, shard: tuple[int, int] | None = None) -> Iterator[None]:
    """Hold `run_dir` while the body runs; left-overs of killed processes are deleted first.

    Without `shard` the directory is held alone. With shard (i, n) it is shared with the other
    shards, and the lock of this shard is held alone. The kernel drops the locks when the process
    ends, however it ends.

    Raises:
        RunBusy: another process is at work here; the message says which.
    """
    make_folder(run_dir)
    with _opened(run_dir / "lock") as whole:
        alone = _try(whole, fcntl.LOCK_EX)
        if shard is None:
            if not alone:
                raise _busy(run_dir, run_dir / "lock")
            clean_leftovers(run_dir)
            _sign(whole)
            yield
            return
        if alone:
            clean_leftovers(run_dir)
        _share(run_dir, whole)
        own = run_dir / f"lock-{shard[0]}-of-{shard[1]}"
        with _opened(own) as part:
            if not _try(part, fcntl.LOCK_EX):
                raise _busy(run_dir, own)
            _sign(part)
            yield


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Wait for the lock `path` and hold it: one process works, the others then find it done."""
    with _opened(path) as descriptor:
        with disk_errors(path, "locking"):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def _share(run_dir: Path, descriptor: int) -> None:
    for _ in range(SHARED_TRIES):
        if _try(descriptor, fcntl.LOCK_SH):
            return
        time.sleep(SHARED_PAUSE)
    raise _busy(run_dir, run_dir / "lock")


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    with disk_errors(path, "locking"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _try(descriptor: int, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sign(descriptor: int) -> None:
    """Write who holds the lock, for the message that others get; a full disk does not matter."""
    text = json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode()
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text, 0)


def _busy(run_dir: Path, lock: Path) -> RunBusy:
    try:
        holder = json.loads(lock.read_bytes())
        who = f"process {holder['pid']} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        who = "other shards of it, or another process,"
    return RunBusy(
        f"{run_dir} is in use: {who} works in it. Wait until it ends, or end it; "
        "the run then goes on with the same command."
    )
