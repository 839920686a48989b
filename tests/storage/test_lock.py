"""One run at a time works in a directory, and shards share it (promise 10)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from silmm.errors import RunBusy
from silmm.storage.lock import hold

HOLDER = """
import sys, time
from pathlib import Path
from silmm.storage.lock import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_refused_with_the_name_of_the_first(tmp_path):
    """A second run in a directory is refused with the process of the first, and nothing changes."""
    refused = pytest.raises(RunBusy, match=f"process {os.getpid()} on")
    with hold(tmp_path / "run"), refused, hold(tmp_path / "run"):
        pass


def test_a_killed_holder_leaves_no_lock(tmp_path):
    """After SIGKILL of its run a directory is free at once."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with process, process.stdout:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(RunBusy, match=str(process.pid)), hold(tmp_path):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        with hold(tmp_path):
            pass


def test_shards_share_a_directory(tmp_path):
    """Different shards share a directory; the same shard twice, or a whole run, is refused."""
    with hold(tmp_path, (0, 2)), hold(tmp_path, (1, 2)):
        for shard in ((0, 2), (1, 2), None):
            with pytest.raises(RunBusy), hold(tmp_path, shard):
                pass


def test_a_shard_is_refused_beside_a_whole_run(tmp_path):
    """No shard may start while a whole run holds the directory."""
    with hold(tmp_path), pytest.raises(RunBusy), hold(tmp_path, (0, 2)):
        pass


def test_leftovers_are_deleted_only_by_whoever_is_alone(tmp_path):
    """A shard that joins another shard does not delete its unfinished files."""
    unfinished = tmp_path / ".tmp-shard-1-0123abcd"
    unfinished.write_text("half")
    with hold(tmp_path, (0, 2)):
        assert not unfinished.exists()
        unfinished.write_text("half")
        with hold(tmp_path, (1, 2)):
            assert unfinished.exists()
