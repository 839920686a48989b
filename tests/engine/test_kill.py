"""A run that is killed at any instant and started again writes the same bytes (promise 1)."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from tests.toy import artefacts

RUN = """
import multiprocessing
import sys
from pathlib import Path
from silmm.registry.registry import Registry
from silmm.engine.settings import RunSettings
from silmm.engine.settings_resolution import resolve_settings
import silmm.engine.run
from tests.toy import artefacts

class Told:
    def progress(self, stage, done, total):
        workers = [str(child.pid) for child in multiprocessing.active_children()]
        print(stage, done, *workers, flush=True)

if __name__ == "__main__":
    registry = Registry.load()
    kinds = "model prompter sampler questioner scorer pair_rule trainer benchmark".split()
    sizes = {"prompts": 7, "images_per_prompt": 4, "shard_size": 3}
    flags = dict.fromkeys(kinds, "toy") | sizes
    settings = resolve_settings(registry, flags=flags)
    silmm.engine.run.start(
        settings, Path(sys.argv[1]), registry=registry, workers=int(sys.argv[2]), observers=[Told()]
    )
"""
EVENTS = [
    ("prompts", 7), ("sample", 3), ("sample", 7), ("questions", 6), ("score", 3), ("score", 7),
    ("pairs", 7), ("train", 3), ("train", 4), ("train", 6), ("evaluate", 1), ("evaluate", 2),
]


@pytest.fixture
def expected(whole_run):
    return artefacts.hashes(whole_run)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: f"{event[0]}-{event[1]}")
def test_a_kill_at_a_stage_changes_nothing(run_toy, tmp_path, expected, event):
    """A run that is killed during or after any stage and resumed equals an uninterrupted run."""

    class Killer:
        def progress(self, stage, done, total):
            if (stage, done) == event:
                artefacts.die()

    run_dir = tmp_path / "run"
    code = artefacts.exit_code(partial(run_toy, run_dir, observers=[Killer()]))
    assert code == -signal.SIGKILL
    run_toy(run_dir)
    assert artefacts.hashes(run_dir) == expected


@pytest.mark.parametrize("calls", [25, 67])
def test_kills_again_and_again_change_nothing(run_toy, tmp_path, expected, calls):
    """A run that is killed before every N-th system call, again and again, still ends with the same bytes."""
    run_dir = tmp_path / "run"
    deaths = 0
    while artefacts.killed(partial(run_toy, run_dir), calls):
        deaths += 1
        assert deaths < 100, "the run makes no headway"
    assert deaths > 2
    assert artefacts.hashes(run_dir) == expected
    assert not list(run_dir.rglob(".tmp-*"))


@artefacts.SWEEP
def test_a_kill_before_any_system_call_changes_nothing(run_toy, tmp_path, expected, stride):
    """A run that is killed before its N-th write, fsync or replace and resumed equals an uninterrupted run."""
    for number in itertools.count(1, stride):
        run_dir = tmp_path / f"run-{number}"
        if not artefacts.killed(partial(run_toy, run_dir), number):
            break
        assert artefacts.exit_code(partial(run_toy, run_dir)) == 0
        assert artefacts.hashes(run_dir) == expected, f"killed before call {number}"
    assert number > 100


def started(tmp_path, toy_site, workers):
    script = tmp_path / "run_toy.py"
    script.write_text(RUN)
    path = os.pathsep.join([str(toy_site), *(folder for folder in sys.path if folder)])
    environment = {**os.environ, "PYTHONPATH": path, "SILMM_LOAD_PLUGINS": "silmm-toy"}
    command = [sys.executable, str(script), str(tmp_path / "run"), str(workers)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_run_with_workers_survives_kill_and_ctrl_c(
    run_toy, tmp_path, toy_site, *, expected, how
):
    """SIGKILL and Ctrl-C leave no worker process behind and a directory that can be resumed."""
    with started(tmp_path, toy_site, 2) as process:
        for line in process.stdout:
            if line.startswith("sample 3 "):
                workers = line.split()[2:]
                process.send_signal(how)
                break
        process.communicate()
    assert process.returncode in (-how, 1)
    assert len(workers) == 2
    assert all(ends(worker) for worker in workers)
    run_toy(tmp_path / "run")
    assert artefacts.hashes(tmp_path / "run") == expected


def ends(pid):
    """Say whether a process is gone, or dead and not yet waited for, within two seconds."""
    for _ in range(40):
        asked = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True, check=False)
        if not asked.stdout.strip() or asked.stdout.startswith("Z"):
            return True
        time.sleep(0.05)
    return False
