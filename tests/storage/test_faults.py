"""When the N-th system call fails, for any N, files are either old or new, never mixed (promise 2)."""

from __future__ import annotations

import errno
import itertools
import os
import shutil

import pyarrow as pa
import pytest

import silmm.engine.training_log
import silmm.storage.atomic_files
from silmm.engine.training_log import TrainingLog
from silmm.errors import DataError, OutOfSpace, SilmmError
from silmm.storage.atomic_files import atomic_folder, atomic_write
from silmm.storage.shards import Shards
from tests.toy import artefacts

ERRORS = {errno.ENOSPC: OutOfSpace, errno.EDQUOT: OutOfSpace, errno.EIO: DataError}


@pytest.fixture
def failing(monkeypatch):
    """Return a function that makes the n-th call fail from now on, and its counter."""

    def install(number, code):
        def trap(name):
            raise OSError(code, os.strerror(code))

        counting = artefacts.CountingOs(number, trap)
        monkeypatch.setattr(silmm.storage.atomic_files, "os", counting)
        monkeypatch.setattr(silmm.engine.training_log, "os", counting)
        return counting

    yield install


def until_it_succeeds(failing, code, action, check):
    """Fail call 1, 2, 3, ... of `action`, check the state each time; return how many failed."""
    for number in itertools.count(1):
        counting = failing(number, code)
        try:
            action()
        except SilmmError as error:
            assert type(error) is ERRORS[code]
        failed = counting.calls >= number
        failing(0, code)
        check()
        if not failed:
            return number - 1
    raise AssertionError


@pytest.mark.parametrize("code", ERRORS, ids=errno.errorcode.get)
def test_a_file_is_old_or_new(tmp_path, failing, code):
    """Whatever fails in a write, the file is the old or the new one, and no temporary file remains."""
    path = tmp_path / "file"

    def action():
        path.write_bytes(b"old")
        atomic_write(path, b"new")

    def check():
        assert path.read_bytes() in (b"old", b"new")
        assert [child.name for child in tmp_path.iterdir()] == ["file"]

    assert until_it_succeeds(failing, code, action, check) == 4


@pytest.mark.parametrize("old", [{}, {"a": "old", "b": "old"}], ids=["first", "replaced"])
def test_a_folder_is_old_or_new(tmp_path, failing, old):
    """Whatever fails in a folder's commit, the folder is the old one or the new one, whole."""
    path = tmp_path / "adapter"
    new = {"a": "new", "c": "new"}

    def action():
        shutil.rmtree(path, ignore_errors=True)
        if old:
            path.mkdir()
        for name, content in old.items():
            (path / name).write_text(content)
        with atomic_folder(path) as folder:
            for name, content in new.items():
                (folder / name).write_text(content)

    def check():
        contents = {child.name: child.read_text() for child in path.iterdir()} if path.exists() else {}
        assert contents in (old, new)
        assert [child.name for child in tmp_path.iterdir()] == ["adapter"] * bool(contents)

    assert until_it_succeeds(failing, errno.ENOSPC, action, check) >= 5


def test_a_shard_is_committed_or_not(tmp_path, failing):
    """Whatever fails in a shard's commit, it is either missing or reads back whole."""
    shards, table = Shards(tmp_path, 1), pa.table({"a": [1, 2]})

    def check():
        assert shards.missing() == [0] or shards.read(0).equals(table)

    assert until_it_succeeds(failing, errno.ENOSPC, lambda: shards.commit(0, table), check) == 8


def test_a_short_write_is_continued(tmp_path, monkeypatch):
    """A write that accepts fewer bytes than it was given is continued."""

    class Stingy:
        def __getattr__(self, name):
            return getattr(os, name)

        def write(self, descriptor, data):
            return os.write(descriptor, bytes(data[:3]))

    monkeypatch.setattr(silmm.storage.atomic_files, "os", Stingy())
    atomic_write(tmp_path / "file", b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


@artefacts.SWEEP
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_a_run_that_meets_a_fault_goes_on_to_the_same_bytes(run_toy, tmp_path, whole_run, failing, *, code, stride):
    """A run whose N-th system call fails ends with an error of silmm, and the same command completes it."""
    expected = artefacts.hashes(whole_run)
    for number in itertools.count(1, stride):
        run_dir = tmp_path / f"run-{number}"
        counting = failing(number, code)
        try:
            run_toy(run_dir)
        except SilmmError as error:
            assert type(error) is ERRORS[code]
        if counting.calls < number:
            break
        failing(0, code)
        run_toy(run_dir)
        assert artefacts.hashes(run_dir) == expected
    assert number > 90


def test_a_training_log_is_cut_at_the_resumed_step(tmp_path):
    """A resumed training rewrites the log after its checkpoint and drops an incomplete line."""
    path = tmp_path / "metrics.jsonl"
    log = TrainingLog(path)
    for step in (1, 2, 3):
        log.append(step, {"loss": 1.0 / step})
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"loss": 0.2')
    resumed = TrainingLog(path)
    for step in (2, 3):
        resumed.append(step, {"loss": 1.0 / step})
    assert path.read_bytes() == whole


def test_a_training_log_has_no_false_number(tmp_path):
    """A metric that is not finite is null in the log."""
    TrainingLog(tmp_path / "m.jsonl").append(1, {"loss": float("nan")})
    assert (tmp_path / "m.jsonl").read_text() == '{"loss": null, "step": 1}\n'


@pytest.mark.parametrize(
    "name", ["prompts/shard-00000.json", "scores/shard-00001.json", "adapter.json"]
)
def test_a_record_without_its_keys_is_named(run_toy, tmp_path, name):
    """A record that lacks a key is an error that names the file and the remedy."""
    run_toy(tmp_path / "run")
    (tmp_path / "run/iter-1" / name).write_text("{}")
    with pytest.raises(DataError, match=rf"{name} does not hold.*Delete it"):
        run_toy(tmp_path / "run")


@pytest.mark.parametrize("content", ["[]", "{", '{"iter-1/sample": "x", "evaluate": NaN}'])
def test_damaged_seconds_stop_nothing(run_toy, tmp_path, content):
    """Damaged timings are ignored."""
    run_toy(tmp_path / "run", until="sample")
    (tmp_path / "run/timings.json").write_text(content)
    assert run_toy(tmp_path / "run", until="questions").timings["questions"] > 0


def test_an_unreadable_file_is_named(run_toy, tmp_path, toy_settings):
    """An unreadable prompts file or a damaged record is an error that names it."""
    (tmp_path / "a_folder").mkdir()
    with pytest.raises(DataError, match=r"a_folder.*--prompts"):
        run_toy(tmp_path / "run", toy_settings(prompts=str(tmp_path / "a_folder")))
    run_toy(tmp_path / "run", until="prompts")
    record = tmp_path / "run/iter-1/prompts/shard-00000.json"
    record.write_text("{")
    with pytest.raises(DataError, match=r"shard-00000\.json"):
        run_toy(tmp_path / "run")
