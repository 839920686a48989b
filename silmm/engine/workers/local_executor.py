"""Runs shards on this machine: in the process of the run, or in processes that each hold the model once.

The pool is :class:`concurrent.futures.ProcessPoolExecutor` with spawned processes, which gives order, errors and the
detection of a worker that died. Four guarantees need a few lines around it, for it gives none of them: Ctrl-C and
:meth:`LocalExecutor.stop` end a worker in the midst of a shard (its own shutdown waits for running shards); a worker
leaves when the run was killed (its workers would wait for ever); the error of a dead worker states the exit code; and
each worker has a number, for its accelerator.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import Synchronized
from typing import ClassVar, cast

from silmm import errors
from silmm.contracts.executors import ShardWorker, Task, Workload
from silmm.errors import SilmmError
from silmm.suggestions import listed

STOP_SECONDS = 2.0
"""How long workers may take to end by themselves before they are terminated."""


class LocalExecutor:
    """Runs shards in this process, or in `workers` processes that stay from stage to stage."""

    def __init__(self, workers: int = 1) -> None:
        """Prepare the executor; processes start with the first shards that need them."""
        self._count = workers
        self._pool: ProcessPoolExecutor | None = None
        self._processes: set[BaseProcess] = set()

    @property
    def in_process(self) -> bool:
        """Whether all shards run in this process."""
        return self._count == 1

    def start(self, workload: Workload, worker: ShardWorker) -> None:
        """Bind the executor to a run."""
        self._workload = workload
        self._worker = worker

    def map(self, tasks: Sequence[Task]) -> Iterator[Task]:
        """Run all tasks and yield each one when it is committed, in any order.

        Raises:
            SilmmError: a worker failed or died; committed shards stay.
        """
        if self._count > 1:
            yield from self._map_in_processes(tasks)
            return
        for task in tasks:
            self._worker.commit(task, self._worker.compute(task))
            yield task

    def close(self) -> None:
        """End the worker processes; those in the midst of a shard are terminated."""
        if self._pool is None:
            return
        deadline = threading.Timer(STOP_SECONDS, self._terminate)
        deadline.daemon = True
        deadline.start()
        self._pool.shutdown(wait=True, cancel_futures=True)
        deadline.cancel()
        self._pool, self._processes = None, set()

    def stop(self) -> None:
        """Terminate the worker processes."""
        self._terminate()
        self.close()

    def _terminate(self) -> None:
        for process in self._processes:
            process.terminate()

    def _map_in_processes(self, tasks: Sequence[Task]) -> Iterator[Task]:
        waiting = iter(tasks)
        running = {self._submit(task): task for task in islice(waiting, self._count)}
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                try:
                    error = future.result()
                except BrokenProcessPool as broken:
                    raise self._death(list(running.values())) from broken
                if error is not None:
                    raise error
                finished = running.pop(future)
                running |= {self._submit(task): task for task in islice(waiting, 1)}
                yield finished

    def _submit(self, task: Task) -> Future[SilmmError | None]:
        """Hand a task to the pool and remember the process that it may start for it."""
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(
                self._count, context, initializer=_begin, initargs=(self._workload, context.Value("i", 0))
            )
        before = set(multiprocessing.active_children())
        try:
            future = self._pool.submit(run_task, task)
        except BrokenProcessPool as broken:
            raise self._death([task]) from broken
        self._processes |= set(multiprocessing.active_children()) - before
        return future

    def _death(self, running: Sequence[Task]) -> SilmmError:
        if self._pool is not None:
            self._pool.shutdown(wait=True)  # it ends and awaits the other workers, so that all exit codes are known
        codes = {process.exitcode for process in self._processes}
        code = next(iter(codes - {None, 0, -signal.SIGTERM} or codes))
        return SilmmError(
            f"A worker process ended (exit code {code}; -9 often means that the memory was not enough) in stage "
            f"{running[0].stage}; shards {listed(str(task.shard) for task in running)} were running. Committed shards "
            "are safe: run the same command again, with fewer --workers if memory is short."
        )


# ------------------------------------------------------------------------------------ in worker processes


@dataclass
class _Process:
    """The worker of this process, opened by its first shard so that its errors have a shard to be reported with."""

    current: ClassVar[_Process]
    workload: Workload
    number: int
    worker: ShardWorker | None = field(default=None)


def _begin(workload: Workload, next_number: Synchronized[int]) -> None:
    """Make this process a worker with the next free number."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers Ctrl-C
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with next_number.get_lock():
        _Process.current = _Process(workload, next_number.value)
        next_number.value += 1


def run_task(task: Task) -> SilmmError | None:
    """Compute and commit a shard, and return its error in a form that every process can unpickle."""
    process = _Process.current
    try:
        process.worker = process.worker or process.workload.open(process.number)
        process.worker.commit(task, process.worker.compute(task))
    except Exception as error:
        if type(error) in vars(errors).values():
            return cast(SilmmError, error)
        report = "".join(traceback.format_exception(error))
        return SilmmError(
            f"A worker failed in stage {task.stage}, shard {task.shard}:\n{report}"
            "Committed shards are safe: the same command resumes the run."
        )
    return None


def _end_with_parent() -> None:
    """End this process when that of the run is gone, so that a kill leaves no worker behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
