"""Hashes of a run's artefacts, and child processes that are killed in the middle of a run."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import silmm.engine.training_log
import silmm.storage.atomic_files

CALLS = ("write", "fsync", "replace")
SWEEP = pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.slow)], ids=["every 7th", "dense"])
"""A test that disturbs the N-th system call does so for every 7th N, and as a slow test for every N."""
TIMED = ("adapter", "adapters", "report", "run_dir", "wall_seconds")
"""Keys of the summary that hold paths or seconds."""


def hashes(run_dir: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a run but locks and seconds."""
    digests = {}
    for path in sorted(run_dir.rglob("*")):
        name = path.relative_to(run_dir).as_posix()
        if path.is_dir() or name.startswith(("lock", "timings")):
            continue
        data = path.read_bytes()
        if name == "summary.json":
            summary = json.loads(data)
            data = json.dumps({k: v for k, v in summary.items() if k not in TIMED}).encode()
        digests[name] = hashlib.sha256(data).hexdigest()
    return digests


class CountingOs:
    """The `os` module with a trap: before the n-th write, fsync or replace, `trap` is called."""

    def __init__(self, number: int, trap: Callable[[str], None]) -> None:
        self.calls = 0
        self._number = number
        self._trap = trap

    def __getattr__(self, name: str) -> Any:
        """Return the real function, counted if it is one of `CALLS`."""
        real = getattr(os, name)
        if name not in CALLS:
            return real

        def counted(*arguments: Any) -> Any:
            self.calls += 1
            if self.calls == self._number:
                self._trap(name)
            return real(*arguments)

        return counted


def die(_: object = None) -> None:
    """End this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def killed(action: Callable[[], object], number: int) -> bool:
    """Do `action` in a child that SIGKILL ends before its n-th system call; say whether it did."""

    def child() -> None:
        counting = CountingOs(number, die)
        silmm.storage.atomic_files.os = silmm.engine.training_log.os = counting  # type: ignore[assignment]
        action()

    return exit_code(child) == -signal.SIGKILL


def exit_code(action: Callable[[], object]) -> int:
    """Do `action` in a forked process and return its exit code (negative: the signal)."""
    process = multiprocessing.get_context("fork").Process(target=action)
    with warnings.catch_warnings():
        # Newer Pythons warn of fork beside threads; these children use no thread of the parent.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    process.join(60)
    assert process.exitcode is not None, "the child hangs"
    return process.exitcode
