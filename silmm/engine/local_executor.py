"""Who does the shards: this process, or several processes that each hold the model once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from silmm import errors
from silmm.contracts.components import Sampler
from silmm.contracts.models import BaseModel, Latent
from silmm.contracts.validation_options import ValidationOptions
from silmm.engine import accelerators, capabilities
from silmm.engine.component_options import REGISTERED_AS
from silmm.engine.preferences import candidates_of
from silmm.engine.stages.candidate_views import Key, view_columns
from silmm.engine.stages.question_stage import ask_questions
from silmm.engine.stages.sample_stage import resample_features, sample_candidates
from silmm.engine.stages.score_stage import RunJudge, score_candidates
from silmm.engine.stages.seed_scope import SeedScope
from silmm.errors import SilmmError
from silmm.lora.loading import load_adapter
from silmm.storage.paths import FEATURES, IterationFolder, RunFolder

if TYPE_CHECKING:
    import pyarrow as pa

    from silmm.engine.settings import RunSettings
    from silmm.registry.registry import Entry, Registry

STOP_SECONDS = 2.0
"""How long an idle worker may take to leave before it is ended."""


@dataclass(frozen=True)
class Task:
    """One shard of one stage; all else is in the run directory."""

    stage: str
    iteration: int
    shard: int
    adapter: str | None
    """The PEFT folder that the model carries, or None for the base."""


class Components:
    """The components of a run, each built when first needed; the model carries one adapter."""

    def __init__(
        self, settings: RunSettings, registry: Registry, identity: Mapping[str, Any]
    ) -> None:
        """Remember what to build; nothing is loaded yet.

        Args:
            settings: which components, with which options.
            registry: where they come from.
            identity: what the settings named when the run began; other weights are refused.
        """
        self.identity = identity
        self._settings = settings
        self._registry = registry
        self._built: dict[str, Any] = {}
        self._adapter: object = None

    def get(self, kind: str) -> Any:  # a component of `kind`, whose type the caller names
        """Return the chosen component of a kind.

        Raises:
            DataError: weights were loaded that are not, or no longer, those that the run began with.
        """
        if kind not in self._built:
            takes_kernel = kind == "trainer" and self._settings.kernel is not None
            parts = {"kernel": self.get("kernel")} if takes_kernel else {}
            name = str(self._settings.component(kind))
            options = self._settings.options.get(kind, {})
            registered = REGISTERED_AS.get(kind, kind)
            self._built[kind] = self._registry.build(registered, name, options, **parts)
            if registered == "model":
                self._settings.require(self.identity)
        return self._built[kind]

    def entry(self, kind: str) -> Entry:
        """Return the registration of the chosen component of a kind; nothing is loaded."""
        return self._settings.entry(self._registry, kind)

    @property
    def asks_questions(self) -> bool:
        """Whether some component needs answers about the candidates."""
        return capabilities.asks_questions(self._registry, self._settings)

    @property
    def continuous(self) -> bool:
        """Whether the model samples features; nothing is loaded to tell."""
        return self._registry.entry("model", self._settings.model).model_kind == "continuous"

    @property
    def validation(self) -> ValidationOptions | None:
        """How the training validates; None where it does not, or where the user's pairs leave no prompts."""
        options = self.entry("trainer").options
        if not issubclass(options, ValidationOptions) or self._settings.pairs is not None:
            return None
        validation = options.model_validate(self._settings.options["trainer"])
        return validation if validation.validate_every else None

    def model(self, adapter: Path | None) -> BaseModel:
        """Return the model with `adapter` on it, or bare with None."""
        model = self._base_model("model")
        if adapter != self._adapter:
            load_adapter(model, adapter)
            self._adapter = adapter
        return model

    def judge(self, model: Callable[[], BaseModel], adapter: str) -> RunJudge:
        """Return whoever answers: the judge model, as it is published, or the `model`, which carries `adapter`."""
        kind = "model" if self._settings.judge_model is None else "judge_model"
        entry = self.entry(kind)
        identity = {
            "judge": entry.name, "distribution": entry.distribution, "version": entry.version,
            "revision": entry.revision, "adapter": adapter if kind == "model" else "",
        }
        return RunJudge(model() if kind == "model" else self._base_model(kind), identity)

    def latents(
        self, kind: str, model: Callable[[], BaseModel], prompts: pa.Table, candidates: pa.Table,
        sampler: Sampler | None = None,
    ) -> dict[Key, Latent] | None:
        """Return the features of a continuous model's candidates where the component of a kind needs them.

        Args:
            kind: scorer or pair-rule.
            model: gives the one with the adapter that the candidates were sampled with.
            prompts: PROMPTS of one shard.
            candidates: columns prompt_id, candidate, seed and shape of the same prompts.
            sampler: that sampled them, where it is not the run's own.
        """
        if not self.continuous or "latents" not in self.entry(kind).needs:
            return None
        return resample_features(
            model(), sampler or self.get("sampler"), prompts, candidates, who=self.entry("sampler").described
        )

    def lend_model(self) -> BaseModel:
        """Return the bare model to someone who may leave any adapter on it."""
        model = self.model(None)
        self._adapter = object()  # equals no path: the next user gets the adapter put on again
        return model

    def _base_model(self, kind: str) -> BaseModel:
        if kind not in self._built:
            self._set_threads()
        model = cast(BaseModel, self.get(kind))
        self._set_threads()
        return model

    def _set_threads(self) -> None:
        """Fix the torch threads, on which the rounding of sums depends; torch is not imported."""
        torch = sys.modules.get("torch")
        if torch is not None:
            torch.set_num_threads(self._settings.threads)


class Worker:
    """Does shards: reads its inputs from the run directory and commits its results there."""

    def __init__(self, settings: RunSettings, run_dir: Path, components: Components) -> None:
        """Bind the worker to a run directory."""
        self._settings = settings
        self._run = RunFolder(run_dir, settings.shard_size)
        self._components = components
        self._prompts: tuple[int, pa.Table] | None = None
        self._used: tuple[int, dict[str, set[int]]] | None = None

    def do(self, task: Task) -> None:
        """Do one shard and commit it.

        Raises:
            SilmmError: the inputs are not usable, or the disk is full.
        """
        stage: dict[str, Callable[[Task, IterationFolder, pa.Table], None]] = {
            "sample": self._sample, "questions": self._questions, "score": self._score,
            FEATURES: self._features,
        }
        folder = self._run.iteration(task.iteration)
        size = self._settings.shard_size
        prompts = self._all_prompts(task.iteration, folder).slice(task.shard * size, size)
        stage[task.stage](task, folder, prompts)

    def _all_prompts(self, iteration: int, folder: IterationFolder) -> pa.Table:
        if self._prompts is None or self._prompts[0] != iteration:
            self._prompts = (iteration, folder.prompts.table())
        return self._prompts[1]

    def _model(self, task: Task) -> BaseModel:
        return self._components.model(Path(task.adapter) if task.adapter else None)

    def _scope(self, task: Task) -> SeedScope:
        return SeedScope(self._settings.seed, task.iteration)

    def _sample(self, task: Task, folder: IterationFolder, prompts: pa.Table) -> None:
        table, counts = sample_candidates(
            self._model(task), self._components.get("sampler"), prompts,
            self._settings.images_per_prompt, self._scope(task), self._settings.decodes_per_candidate,
            self._components.entry("sampler").described,
        )
        folder.table("candidates").commit(task.shard, table, counts)

    def _questions(self, task: Task, folder: IterationFolder, prompts: pa.Table) -> None:
        table, counts = ask_questions(
            self._model(task), self._components.get("questioner"), prompts,
            self._components.entry("questioner").described,
        )
        folder.table("questions").commit(task.shard, table, counts)

    def _score(self, task: Task, folder: IterationFolder, prompts: pa.Table) -> None:
        parts, model = self._components, partial(self._model, task)
        scorer, asked = parts.entry("scorer"), parts.asks_questions
        candidates = folder.table("candidates").read(task.shard, view_columns(scorer.needs, images=asked))
        answers, scores, counts = score_candidates(
            parts.judge(model, task.adapter or ""), parts.get("scorer"), prompts, candidates,
            folder.table("questions").read(task.shard) if asked else None,
            scope=self._scope(task), needs=scorer.needs,
            latents=parts.latents("scorer", model, prompts, candidates), who=scorer.described,
        )
        folder.table("answers").commit(task.shard, answers)
        folder.table("scores").commit(task.shard, scores, counts)

    def _features(self, task: Task, folder: IterationFolder, prompts: pa.Table) -> None:
        if self._used is None or self._used[0] != task.iteration:
            self._used = (task.iteration, candidates_of(folder.pairs.table()))
        columns = ["prompt_id", "candidate", "seed", "shape"]
        features = resample_features(
            self._model(task), self._components.get("sampler"), prompts,
            folder.table("candidates").read(task.shard, columns), self._used[1],
            self._components.entry("sampler").described,
        )
        folder.features.commit_features(task.shard, features)


class Pool:
    """Hands shards to `count` workers: 1 is this process, more are processes that stay."""

    def __init__(
        self, settings: RunSettings, run_dir: Path, components: Components, count: int
    ) -> None:
        """Prepare the pool; processes start with the first shards that need them."""
        self._settings = settings
        self._run_dir = run_dir
        self._identity = components.identity
        self._count = count
        self._here = Worker(settings, run_dir, components)
        self._members: list[tuple[BaseProcess, Connection]] = []

    def do(self, tasks: Sequence[Task]) -> Iterator[Task]:
        """Do all tasks, yielding each when it is committed, in any order.

        Raises:
            SilmmError: a worker failed or died; what is committed stays.
        """
        if self._count > 1 and tasks:
            yield from self._share_out(tasks)
            return
        for task in tasks:
            self._here.do(task)
            yield task

    def close(self) -> None:
        """End the worker processes; those still at work are stopped where they are."""
        for _, connection in self._members:
            connection.close()
        for process, _ in self._members:
            process.join(STOP_SECONDS)
            if process.is_alive():
                process.terminate()
                process.join()
        self._members = []

    def stop(self) -> None:
        """End the worker processes at once."""
        for process, _ in self._members:
            process.terminate()
        self.close()

    def _share_out(self, tasks: Sequence[Task]) -> Iterator[Task]:
        while len(self._members) < min(self._count, len(tasks)):
            self._members.append(self._spawn(len(self._members)))
        process_of = {connection: process for process, connection in self._members}
        waiting = list(reversed(tasks))
        busy: dict[Connection, Task] = {}
        idle = list(process_of)
        while waiting or busy:
            while waiting and idle:
                connection, task = idle.pop(), waiting.pop()
                busy[connection] = task
                self._send(connection, process_of[connection], task)
            for ready in wait(list(busy)):
                connection = cast("Connection", ready)
                task = busy.pop(connection)
                self._receive(connection, process_of[connection], task)
                idle.append(connection)
                yield task

    def _spawn(self, number: int) -> tuple[BaseProcess, Connection]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (self._settings, self._run_dir, self._identity, number, theirs)
        process = context.Process(target=serve, args=arguments, daemon=True)
        process.start()
        theirs.close()
        return process, ours

    def _send(self, connection: Connection, process: BaseProcess, task: Task) -> None:
        try:
            connection.send(task)
        except OSError as error:
            raise self._dead(process, task) from error

    def _receive(self, connection: Connection, process: BaseProcess, task: Task) -> None:
        try:
            error = connection.recv()
        except (EOFError, OSError) as broken:
            raise self._dead(process, task) from broken
        if error is not None:
            raise error

    def _dead(self, process: BaseProcess, task: Task) -> SilmmError:
        process.join(STOP_SECONDS)
        return SilmmError(
            f"A worker process ended (exit code {process.exitcode}; -9 often means that the memory "
            f"was not enough) in stage {task.stage}, shard {task.shard}. Committed shards are "
            "safe: run the same command again, with fewer --workers if memory is short."
        )


def serve(
    settings: RunSettings, run_dir: Path, identity: Mapping[str, Any], number: int, connection: Connection
) -> None:
    """Be worker `number`: do the shards that come through `connection` until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    from silmm.registry.registry import Registry

    if accelerators.any_will_do(settings):
        accelerators.take(number)
    worker = Worker(settings, run_dir, Components(settings, Registry.load(), identity))
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        connection.send(_outcome(worker, task))


def _outcome(worker: Worker, task: Task) -> SilmmError | None:
    """Do a task and return its error in a form that every process can unpickle."""
    try:
        worker.do(task)
    except Exception as error:
        if type(error) in vars(errors).values():
            return cast(SilmmError, error)
        report = "".join(traceback.format_exception(error))
        return SilmmError(
            f"A worker failed in stage {task.stage}, shard {task.shard}:\n{report}"
            "Committed shards are safe: the same command goes on from there."
        )
    return None


def _leave_with_parent() -> None:
    """End this worker when the run's process is gone, so that none is left behind by a kill."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
