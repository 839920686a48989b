"""`silmm` in processes forked from a server that has imported everything: none of them waits for imports.

The server runs no command itself, so it has no threads that a fork could cut off from their locks.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PRELOADED = [
    "silmm", "torch", "peft", "pandas", "pyarrow.parquet", "PIL.Image", "rich.progress", "silmm_cli.run_cmd",
    "silmm_cli.bench_cmd", "silmm_cli.display", "silmm.engine.run", "silmm.bench.runner", "silmm.report.page",
    "silmm_benchmarks.plugin", "silmm_benchmarks.shapes.benchmark", "silmm_plugins.models.tiny_discrete.model",
    "silmm_plugins.training.registration", "silmm_plugins.training.lora.lora_training",
]
"""What a command imports; `silmm` first, which makes torchvision importable."""
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(PRELOADED)


class Command:
    """A running `silmm ARGUMENTS`, with the part of `subprocess.Popen` that tests use."""

    def __init__(
        self, arguments: list[str], output: str | Path = os.devnull, environment: Mapping[str, str] | None = None
    ) -> None:
        wanted = {**os.environ, **(environment or {})}
        self._process: Any = CONTEXT.Process(target=_run, args=(arguments, str(output), wanted))
        self._process.start()

    def poll(self) -> int | None:
        """Return the exit code (negative: the signal), or None while it runs."""
        code: int | None = self._process.exitcode
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self._process.pid, number)

    def wait(self, timeout: float = 300) -> int:
        """Wait for the end and return the exit code."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            self._process.kill()
            raise subprocess.TimeoutExpired("silmm", timeout)
        code: int = self._process.exitcode
        return code


def _run(arguments: list[str], output: str, environment: Mapping[str, str]) -> None:
    """Do what `python -m silmm_cli ARGUMENTS` does, with stdout and stderr in one file."""
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.argv = ["silmm", *arguments]
    from silmm_cli import main

    main(prog_name="silmm")
