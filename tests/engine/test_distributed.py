"""Ranks above 0 of a launcher join the training, write nothing and stop after the same iteration as rank 0."""

from __future__ import annotations

import importlib

import pytest

from silmm.engine import distributed as ranks
from silmm.engine.run import RunResult
from silmm.errors import UsageError
from tests.toy import artefacts


@pytest.fixture
def be_rank(monkeypatch):
    """Return a function that makes this process one of two of a launcher."""

    def set_rank(number):
        for name, value in (("WORLD_SIZE", "2"), ("RANK", number), ("LOCAL_RANK", number)):
            monkeypatch.setenv(name, value)

    return set_rank


@pytest.fixture
def trainings(toy_registry, monkeypatch):
    """Collect what the trainer is called with, instead of training."""
    calls = []
    trainer = importlib.import_module("silmm_toy").ToyTrainer

    def train(self, job):
        calls.append({**vars(job), "prompts": [preference.prompt for preference in job.preferences]})
        return {}

    monkeypatch.setattr(trainer, "train", train)
    return calls


def test_a_process_without_a_launcher_is_rank_0(monkeypatch):
    """A process with WORLD_SIZE but without LOCAL_RANK is rank 0 of 1."""
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("RANK", "3")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert (ranks.processes(), ranks.rank()) == (1, 0)


def test_rank_1_joins_the_training_and_writes_nothing(
    run_toy, tmp_path, trainings, *, be_rank
):
    """If there are pairs and no adapter, rank 1 trains with the pairs, seed and folder of rank 0."""
    run_dir = tmp_path / "run"
    run_toy(run_dir, until="pairs")
    before = artefacts.hashes(run_dir)
    be_rank("1")
    assert run_toy(run_dir) == RunResult(run_dir, {}, {}, None)
    assert artefacts.hashes(run_dir) == before
    be_rank("0")
    run_toy(run_dir, until="train")
    joined, led = trainings
    for name in ("prompts", "start", "work", "seed"):
        assert joined[name] == led[name]
    assert run_dir not in joined["out"].parents


@pytest.mark.parametrize("until", [None, "score"])
def test_rank_1_has_nothing_to_do_where_rank_0_does_not_train(
    run_toy, tmp_path, trainings, whole_run, *, be_rank, until
):
    """Rank 1 ends at once if the run is finished or `--until` stops before the training."""
    be_rank("1")
    run_toy(whole_run if until is None else tmp_path / "run", until=until)
    assert trainings == []
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", ["0", "1"])
def test_shards_and_a_launcher_exclude_each_other(run_toy, tmp_path, be_rank, number):
    """`--shard` under a launcher is refused on every rank, because the ranks would wait for each other."""
    be_rank(number)
    with pytest.raises(UsageError, match="torchrun"):
        run_toy(tmp_path / "run", shard=(0, 2))
