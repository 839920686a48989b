"""The contract of an executor: whatever runs the shards of a run, in one process, in many, or on many machines.

Stages of a run consist of shards that depend on nothing but the run directory, so that any executor gives equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class Task:
    """One shard of one stage; everything else is in the run directory."""

    stage: str
    iteration: int
    shard: int
    adapter: str | None
    """The PEFT folder that the model carries, or None for the base model."""


@dataclass(frozen=True)
class ShardTable:
    """One finished table of a shard that is not committed yet."""

    name: str
    rows: Any
    """A :class:`pyarrow.Table`; of table `features` a mapping of (prompt id, candidate) to H."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Number of rows that were left out, by reason."""


class ShardWorker(Protocol):
    """Runs shards in one process, which holds each component of the run once."""

    def compute(self, task: Task) -> Sequence[ShardTable]:
        """Return the tables of a shard in the order in which they must be committed.

        Raises:
            SilmmError: the inputs are not usable.
        """
        ...

    def commit(self, task: Task, tables: Sequence[ShardTable]) -> None:
        """Write the tables of a shard into the run directory of this process.

        Raises:
            SilmmError: the disk is full, or refuses the write.
        """
        ...


class Workload(Protocol):
    """What a worker in another process is made from; it can be pickled."""

    def open(self, number: int) -> ShardWorker:
        """Return the worker of this process; components are loaded by its first shards.

        Args:
            number: of the worker, from 0; it takes the accelerator of that number, modulo their count.
        """
        ...


@runtime_checkable
class Executor(Protocol):
    """Runs shards; the first ones start its workers, which stay until :meth:`close`."""

    @property
    def in_process(self) -> bool:
        """Whether all shards run in the process of the run; other processes load installed plugins alone."""
        ...

    def start(self, workload: Workload, worker: ShardWorker) -> None:
        """Bind the executor to a run.

        Args:
            workload: makes the workers of other processes.
            worker: that of this process, which shares the components that the run has loaded.
        """
        ...

    def map(self, tasks: Sequence[Task]) -> Iterator[Task]:
        """Run all tasks and yield each one when it is committed, in any order.

        Raises:
            SilmmError: a worker failed or died; committed shards stay.
        """
        ...

    def close(self) -> None:
        """End the workers and free their models; the next tasks start new ones."""
        ...

    def stop(self) -> None:
        """End the workers at once, also in the midst of a shard."""
        ...
