"""Where things lie in a run directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from silmm.storage.atomic_files import REPORT
from silmm.storage.feature_store import FeatureShards
from silmm.storage.json_files import read_json, well_formed
from silmm.storage.shards import Shards

BEFORE_PAIRS = {"sample": ("candidates",), "questions": ("questions",), "score": ("answers", "scores")}
"""Stages before the pairs that are done shard by shard, with the tables that they make."""

FEATURES = "features"
"""The stage, and its folder, that keeps H of the candidates of the pairs; continuous models only."""

SHARDED = {**BEFORE_PAIRS, FEATURES: (FEATURES,)}
"""All stages that are done shard by shard."""

STAGES = ("prompts", *BEFORE_PAIRS, "pairs", FEATURES, "train")
"""All stages in order, as `--until` and `--from` call them."""


@dataclass(frozen=True)
class IterationFolder:
    """The folder of one iteration (`iter-1`, `iter-2`, …)."""

    path: Path
    shard_size: int

    @property
    def prompts(self) -> Shards:
        """The prompts of the iteration: one shard."""
        return Shards(self.path / "prompts", 1)

    @property
    def pairs(self) -> Shards:
        """The preference pairs: one shard."""
        return Shards(self.path / "pairs", 1)

    @property
    def prompter(self) -> Path:
        """Counts of what the prompter threw away."""
        return self.path / "prompter.json"

    @property
    def work(self) -> Path:
        """Training checkpoints and stored reference values."""
        return self.path / "train"

    @property
    def metrics(self) -> Path:
        """One JSON object per optimizer step."""
        return self.path / "metrics.jsonl"

    @property
    def adapter(self) -> Path:
        """The finished PEFT folder."""
        return self.path / "adapter"

    def prompt_count(self) -> int:
        """Return the number of prompts, from their record.

        Raises:
            DataError: there are no prompts yet.
        """
        path = self.prompts.record_path(0)
        record = read_json(path)
        with well_formed(path):
            return int(record["rows"])

    def shard_count(self) -> int:
        """Return the number of shards of the sharded stages."""
        return -(-self.prompt_count() // self.shard_size)

    @property
    def features(self) -> FeatureShards:
        """H of the candidates that a pair uses, for a continuous model."""
        return FeatureShards(self.path / FEATURES, self.shard_count())

    def table(self, name: str) -> Shards:
        """Return the shards of one sharded table."""
        return self.features if name == FEATURES else Shards(self.path / name, self.shard_count())

    def missing(self, stage: str) -> list[int]:
        """Return the shards of a sharded stage that are still to be done."""
        tables = [self.table(name) for name in SHARDED[stage]]
        return sorted({index for table in tables for index in table.missing()})


@dataclass(frozen=True)
class RunFolder:
    """A run directory."""

    path: Path
    shard_size: int

    @property
    def identity(self) -> Path:
        """The settings that made the run, written once."""
        return self.path / "run.json"

    @property
    def summary(self) -> Path:
        """What the run came to."""
        return self.path / "summary.json"

    @property
    def evaluation(self) -> Path:
        """The benchmark's own folder."""
        return self.path / "eval"

    @property
    def report(self) -> Path:
        """The folder of `silmm report`."""
        return self.path / REPORT

    @property
    def report_lock_file(self) -> Path:
        """The lock of the report, which may be written beside a run."""
        return self.path / "lock-report"

    @property
    def lock_file(self) -> Path:
        """The lock of work that one process does for all shards."""
        return self.path / "lock-turn"

    def timings(self, shard: tuple[int, int] | None) -> Path:
        """Seconds per stage of this process and of those before it with the same `--shard`."""
        return self.path / (f"timings-{shard[0]}-of-{shard[1]}.json" if shard else "timings.json")

    def iteration(self, number: int) -> IterationFolder:
        """Return the folder of iteration `number`, counted from 1."""
        return IterationFolder(self.path / f"iter-{number}", self.shard_size)
