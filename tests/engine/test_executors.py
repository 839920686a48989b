"""Executors: no result depends on which one runs the shards, and none leaves a worker behind."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import time
from pathlib import Path

import pytest

import silmm.engine.run
from silmm.contracts.executors import Executor, ShardTable, Task
from silmm.engine.workers.local_executor import LocalExecutor
from silmm.errors import DataError, PluginError, SilmmError, UsageError
from silmm.registry.registry import Registry
from tests.toy import artefacts


class Backwards:
    """Computes through a pickled workload, as another machine would, and commits in the process of the run."""

    in_process = False

    def start(self, workload, worker):
        self.workload, self.worker = pickle.dumps(workload), worker

    def map(self, tasks):
        other = pickle.loads(self.workload).open(0)  # noqa: S301 - made above
        for task in reversed(tasks):
            self.worker.commit(task, other.compute(task))
            yield task

    def close(self):
        """It has no workers."""

    stop = close


def test_an_executor_that_computes_elsewhere_writes_the_same_bytes(run_toy, whole_run, tmp_path):
    """Tables that come from another worker in another order, committed by the run, give equal artefacts."""
    run_toy(tmp_path / "run", executor=Backwards())
    assert artefacts.hashes(tmp_path / "run") == artefacts.hashes(whole_run)


def test_what_is_no_executor_is_refused(run_toy, tmp_path):
    """An object without the contract's methods is reported as an error of its plugin before anything runs."""
    with pytest.raises(PluginError, match="dict is not an executor"):
        run_toy(tmp_path / "run", executor={})
    assert not (tmp_path / "run").exists()


def test_an_error_of_an_executor_names_the_stage(run_toy, tmp_path):
    """An executor's exception becomes an error of its plugin; an error of silmm passes unchanged."""

    class Odd(Backwards):
        def map(self, tasks):
            raise self.error
            yield

    for error, expected, words in (
        (ZeroDivisionError("x"), PluginError, "the executor failed while running stage sample: ZeroDivisionError: x"),
        (DataError("shard 3 is torn"), DataError, "shard 3 is torn"),
    ):
        executor = Odd()
        executor.error = error
        with pytest.raises(expected, match=words):
            run_toy(tmp_path / "run", executor=executor)


def test_a_plugin_of_this_process_alone_needs_an_executor_in_it(toy_settings, toy_registry, tmp_path):
    """Workers of other processes would not find a plugin that was added to the registry by hand."""
    registry = toy_registry
    registry.add(type("Plugin", (), {})(), "by-hand")
    with pytest.raises(UsageError, match="by-hand was added in this process"):
        silmm.engine.run.start(toy_settings(), tmp_path / "run", registry=registry, executor=Backwards())


def test_local_is_registered_like_any_other(monkeypatch):
    """The built-in executor comes through the hook, with `workers` as its option."""
    monkeypatch.delenv("SILMM_LOAD_PLUGINS", raising=False)
    registry = Registry.load()
    alone, pool = (registry.build("executor", "local", options) for options in ({}, {"workers": 2}))
    assert isinstance(alone, Executor)
    assert (alone.in_process, pool.in_process) == (True, False)


# ------------------------------------------------------------------------------------ processes of `local`


class Shards:
    """A workload whose shards do what their stage says; each leaves a file named after its worker."""

    def __init__(self, folder):
        self.folder = folder

    def open(self, number):
        if (self.folder / "cannot-open").exists():
            raise UsageError("no plugins here")
        self.number = number
        return self

    def compute(self, task):
        (self.folder / f"{task.shard} by {self.number} in {os.getpid()}").touch()
        if task.stage == "sleep":
            time.sleep(60)
        if task.stage == "fail":
            raise RuntimeError("the deepest reason")
        return [ShardTable("made", task.shard)]

    def commit(self, task, tables):
        (self.folder / f"committed {tables[0].rows}").touch()


def tasks(stage, count):
    return [Task(stage, 1, shard, None) for shard in range(count)]


@pytest.fixture
def pool(tmp_path):
    """An executor of two processes on a workload in `tmp_path`."""
    executor = LocalExecutor(2)
    executor.start(Shards(tmp_path), Shards(tmp_path))
    yield executor
    executor.stop()
    assert multiprocessing.active_children() == []


def test_each_task_is_yielded_once_when_it_is_committed(pool, tmp_path):
    """All tasks come back, each after its commit, from two workers with numbers of their own."""
    finished = []
    for task in pool.map(tasks("run", 6)):
        assert (tmp_path / f"committed {task.shard}").exists()
        finished.append(task.shard)
    assert sorted(finished) == list(range(6))
    workers = {path.name.partition(" by ")[2] for path in tmp_path.glob("* by *")}
    assert {worker.partition(" in ")[0] for worker in workers} <= {"0", "1"}
    assert len(workers) == len({worker.partition(" in ")[2] for worker in workers})


def test_the_processes_stay_until_they_are_closed_and_new_ones_follow(pool):
    """The next stage finds the loaded models; after `close` nothing is left, and a later stage starts anew."""
    list(pool.map(tasks("run", 4)))
    first = {process.pid for process in multiprocessing.active_children()}
    list(pool.map(tasks("run", 4)))
    assert {process.pid for process in multiprocessing.active_children()} >= first
    pool.close()
    assert multiprocessing.active_children() == []
    assert len(list(pool.map(tasks("run", 3)))) == 3


def test_stop_does_not_wait_for_a_running_shard(pool, tmp_path):
    """A worker in the midst of a shard of a minute ends at once."""
    shards = iter(pool.map([*tasks("run", 1), *tasks("sleep", 2)]))
    next(shards)
    while len(list(tmp_path.glob("* by *"))) < 2:
        time.sleep(0.02)
    start = time.monotonic()
    pool.stop()
    assert time.monotonic() - start < 10
    assert multiprocessing.active_children() == []


def test_an_error_of_a_shard_carries_its_traceback(pool):
    """Whatever a plugin raises in a worker arrives as one message with stage, shard and the place in the code."""
    with pytest.raises(SilmmError, match=r"stage fail, shard [01]:(.|\n)*in compute(.|\n)*the deepest reason"):
        list(pool.map(tasks("fail", 2)))


def test_a_worker_that_cannot_start_says_why(pool, tmp_path):
    """An error while components are opened is that error, not a broken pool."""
    (tmp_path / "cannot-open").touch()
    with pytest.raises(UsageError, match="no plugins here"):
        list(pool.map(tasks("run", 2)))


def test_one_worker_is_this_process(tmp_path):
    """With one worker the tasks run in the calling process."""
    executor = LocalExecutor(1)
    executor.start(Shards(Path("unused")), Shards(tmp_path).open(0))
    assert len(list(executor.map(tasks("run", 2)))) == 2
    assert {path.name.partition(" in ")[2] for path in tmp_path.glob("* by *")} == {str(os.getpid())}
