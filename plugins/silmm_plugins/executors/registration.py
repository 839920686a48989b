"""Registers the executor `local`, whose implementation is the core's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm.contracts.options import Options, option

if TYPE_CHECKING:
    from silmm.contracts.executors import Executor
    from silmm.contracts.registration import Register


class LocalOptions(Options):
    """Options of `local`."""

    workers: int = option(1, "processes that share the shards; 1: the process of the run", ge=1, paper="ours")


def register_executors(register: Register) -> None:
    """Register `local`."""
    register(
        "local",
        _local,
        options=LocalOptions,
        paper="ours",
        summary="This process, or several spawned processes on this machine.",
    )


def _local(options: LocalOptions) -> Executor:
    from silmm.engine.workers.local_executor import LocalExecutor

    return LocalExecutor(options.workers)
