"""Runs the shards of a run in one process: reads their inputs, calls the stages, commits their tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silmm.contracts.executors import ShardTable, Task
from silmm.contracts.models import BaseModel
from silmm.engine.preferences import candidates_of
from silmm.engine.stages.candidate_views import view_columns
from silmm.engine.stages.question_stage import ask_questions
from silmm.engine.stages.sample_stage import resample_features, sample_candidates
from silmm.engine.stages.score_stage import score_candidates
from silmm.engine.stages.seed_scope import SeedScope
from silmm.engine.workers import accelerators
from silmm.engine.workers.run_components import Components
from silmm.storage.paths import FEATURES, IterationFolder, RunFolder

if TYPE_CHECKING:
    import pyarrow as pa

    from silmm.engine.settings import RunSettings


@dataclass(frozen=True)
class RunWorkload:
    """What the worker of another process is made from."""

    settings: RunSettings
    run_dir: Path
    identity: Mapping[str, Any]
    """The settings' identity when the run began; other weights are refused."""

    def open(self, number: int) -> RunWorker:
        """Return the worker of this process, with the accelerator of its number and the installed plugins."""
        from silmm.registry.registry import Registry

        if accelerators.any_will_do(self.settings):
            accelerators.take(number)
        return RunWorker(self.settings, self.run_dir, Components(self.settings, Registry.load(), self.identity))


class RunWorker:
    """Runs shards of one run directory with the components of this process."""

    def __init__(self, settings: RunSettings, run_dir: Path, components: Components) -> None:
        """Bind the worker to a run directory."""
        self._settings = settings
        self._run = RunFolder(run_dir, settings.shard_size)
        self._components = components
        self._prompts: tuple[int, pa.Table] | None = None
        self._used: tuple[int, dict[str, set[int]]] | None = None

    def compute(self, task: Task) -> Sequence[ShardTable]:
        """Return the tables of a shard in the order in which they must be committed.

        Raises:
            SilmmError: the inputs are not usable.
        """
        stages: dict[str, Callable[[Task, IterationFolder, pa.Table], Sequence[ShardTable]]] = {
            "sample": self._sample, "questions": self._questions, "score": self._score,
            FEATURES: self._features,
        }
        folder = self._run.iteration(task.iteration)
        size = self._settings.shard_size
        prompts = self._all_prompts(task.iteration, folder).slice(task.shard * size, size)
        return stages[task.stage](task, folder, prompts)

    def commit(self, task: Task, tables: Sequence[ShardTable]) -> None:
        """Write the tables of a shard into the run directory.

        Raises:
            SilmmError: the disk is full, or refuses the write.
        """
        folder = self._run.iteration(task.iteration)
        for table in tables:
            if table.name == FEATURES:
                folder.features.commit_features(task.shard, table.rows)
            else:
                folder.table(table.name).commit(task.shard, table.rows, table.counts)

    def _all_prompts(self, iteration: int, folder: IterationFolder) -> pa.Table:
        if self._prompts is None or self._prompts[0] != iteration:
            self._prompts = (iteration, folder.prompts.table())
        return self._prompts[1]

    def _model(self, task: Task) -> BaseModel:
        return self._components.model(Path(task.adapter) if task.adapter else None)

    def _scope(self, task: Task) -> SeedScope:
        return SeedScope(self._settings.seed, task.iteration)

    def _sample(self, task: Task, _: IterationFolder, prompts: pa.Table) -> Sequence[ShardTable]:
        table, counts = sample_candidates(
            self._model(task), self._components.get("sampler"), prompts,
            self._settings.images_per_prompt, self._scope(task), self._settings.decodes_per_candidate,
            self._components.entry("sampler").described,
        )
        return [ShardTable("candidates", table, counts)]

    def _questions(self, task: Task, _: IterationFolder, prompts: pa.Table) -> Sequence[ShardTable]:
        table, counts = ask_questions(
            self._model(task), self._components.get("questioner"), prompts,
            self._components.entry("questioner").described,
        )
        return [ShardTable("questions", table, counts)]

    def _score(self, task: Task, folder: IterationFolder, prompts: pa.Table) -> Sequence[ShardTable]:
        parts, model = self._components, partial(self._model, task)
        scorer, asked = parts.entry("scorer"), parts.asks_questions
        candidates = folder.table("candidates").read(task.shard, view_columns(scorer.needs, images=asked))
        answers, scores, counts = score_candidates(
            parts.judge(model, task.adapter or ""), parts.get("scorer"), prompts, candidates,
            folder.table("questions").read(task.shard) if asked else None,
            scope=self._scope(task), needs=scorer.needs,
            latents=parts.latents("scorer", model, prompts, candidates), who=scorer.described,
        )
        return [ShardTable("answers", answers), ShardTable("scores", scores, counts)]

    def _features(self, task: Task, folder: IterationFolder, prompts: pa.Table) -> Sequence[ShardTable]:
        if self._used is None or self._used[0] != task.iteration:
            self._used = (task.iteration, candidates_of(folder.pairs.table()))
        columns = ["prompt_id", "candidate", "seed", "shape"]
        features = resample_features(
            self._model(task), self._components.get("sampler"), prompts,
            folder.table("candidates").read(task.shard, columns), self._used[1],
            self._components.entry("sampler").described,
        )
        return [ShardTable(FEATURES, features)]
