"""One iteration of a run: what is committed is kept, what is missing is made, stage by stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from silmm.contracts.executors import Task
from silmm.contracts.training import TrainingJob
from silmm.engine.session import Session, Stopped
from silmm.engine.stages.candidate_views import IMAGES
from silmm.engine.stages.plugin_calls import blaming
from silmm.engine.stages.seed_scope import SeedScope
from silmm.engine.training_log import TrainingLog
from silmm.engine.validation import trainer_input
from silmm.engine.whole_tables import WholeTables, described
from silmm.engine.workers.run_components import Components
from silmm.errors import DataError, Incomplete, UsageError
from silmm.lora.adapter_record import check_adapter, finished_adapter, seal_adapter
from silmm.storage.atomic_files import atomic_folder, make_folder
from silmm.storage.lock import turn
from silmm.storage.paths import BEFORE_PAIRS, FEATURES, SHARDED, STAGES, IterationFolder
from silmm.storage.shards import Shards

if TYPE_CHECKING:
    from silmm.engine.settings import RunSettings

class Iteration:
    """The stages of one iteration, called in order; each does nothing where its work is done."""

    def __init__(self, session: Session, number: int, reference: Path | None) -> None:
        """Bind iteration `number`, whose model starts from adapter `reference`."""
        self._session = session
        self._settings = session.settings
        self._number = number
        self._reference = reference
        self._folder: IterationFolder = session.folder.iteration(number)
        self._scope = SeedScope(session.settings.seed, number)
        self._whole = WholeTables(session, self._folder, self._scope, reference)

    # --------------------------------------------------------------------------------------- stages

    def write_prompts(self) -> None:
        """Step 1: have the prompts of this iteration, from the prompter or the user's file."""
        if self._offline():
            return
        with self._until("prompts"), turn(self._session.folder.turn):
            if self._folder.prompts.missing():
                self._require_allowed("prompts", "the prompts")
                with self._timed("prompts"):
                    table = self._whole.prompts()
                self._announce("prompts", table)
            self._folder.prompts.seal()
            self._session.progress("prompts", count := self._folder.prompt_count(), count)

    def sample_candidates(self) -> None:
        """Step 2: have the candidates of every prompt."""
        self._sharded("sample")

    def ask_questions(self) -> None:
        """Step 3: have the questions of every prompt, where a component needs answers."""
        self._sharded("questions", skip=not self._asks_questions())

    def score_candidates(self) -> None:
        """Step 4: have the answers and scores of every candidate."""
        self._sharded("score")

    def choose_pairs(self) -> None:
        """Step 5: have the pairs, by the pair rule or from the user's file."""
        with self._until("pairs"):
            if not self._offline():
                self._require_all_shards()
            with turn(self._session.folder.turn):
                if self._folder.pairs.missing():
                    self._require_allowed("pairs", "the pairs")
                    with self._timed("pairs"):
                        table, counts = self._whole.pairs()
                        self._folder.pairs.commit(0, table, counts)
                    self._announce("pairs", table)
                self._folder.pairs.seal()

    def keep_features(self) -> None:
        """Step 5, continuous models: have H of the candidates in pairs, sampled again from their seeds.

        Whoever comes first does all shards: with `--shard` the pairs are made by one process too.
        """
        with self._until(FEATURES), turn(self._session.folder.turn):
            if keeps_features(self._settings, self._session.components):
                self._shards(FEATURES, self._folder.missing(FEATURES))

    def train_adapter(self) -> Path:
        """Step 5: have the tuned adapter; return its folder."""
        with self._until("train"), turn(self._session.folder.turn):
            if not finished_adapter(self._folder.adapter):
                self._session.executor.close()  # the models of its processes make room for the training
                with self._timed("train"):
                    self._train()
                self._announce("train", None)
            metrics = check_adapter(self._folder.adapter)
            known = {name: value for name, value in metrics.items() if value is not None}
            self._session.observers.iteration_finished(
                self._session.folder.path, self._number, known
            )
        return self._folder.adapter

    # ---------------------------------------------------------------------------------- the frame

    def _timed(self, stage: str) -> AbstractContextManager[None]:
        return self._session.timings.measure(f"iter-{self._number}/{stage}")

    def _announce(self, stage: str, table: pa.Table | None) -> None:
        run_dir = self._session.folder.path
        self._session.observers.stage_finished(run_dir, self._number, stage, table)

    @contextmanager
    def _until(self, name: str) -> Iterator[None]:
        yield
        if self._session.until == name and self._number == 1:
            raise Stopped

    def _offline(self) -> bool:
        return self._settings.pairs is not None

    def _require_allowed(self, stage: str, what: str) -> None:
        """Refuse to make what `--from` takes as given."""
        start = self._session.from_
        if start and self._number == 1 and STAGES.index(stage) < STAGES.index(start):
            raise DataError(
                f"--from {start} takes {what} from {self._folder.path}, but they are not complete "
                f"there. Run without --from, or with --from {stage}."
            )

    def _asks_questions(self) -> bool:
        return self._session.components.asks_questions

    def _sharded(self, stage: str, *, skip: bool = False) -> None:
        if self._offline():
            return
        with self._until(stage):
            if not skip:
                self._shards(
                    stage, [shard for shard in self._folder.missing(stage) if self._session.owns_shard(shard)]
                )

    def _shards(self, stage: str, todo: list[int]) -> None:
        if todo:
            listed = ", ".join(str(shard) for shard in todo)
            self._require_allowed(stage, f"the shards {listed} of stage {stage}")
        with self._timed(stage) if todo else nullcontext():
            self._do(stage, todo)
        if not self._folder.missing(stage):
            self._finish(stage, announce=bool(todo))

    def _do(self, stage: str, todo: list[int]) -> None:
        count, size = self._folder.prompt_count(), self._settings.shard_size
        sizes = {
            shard: min(size, count - shard * size)
            for shard in range(self._folder.shard_count())
            if stage == FEATURES or self._session.owns_shard(shard)
        }
        total, done = sum(sizes.values()), sum(sizes.values()) - sum(sizes[shard] for shard in todo)
        self._session.progress(stage, done, total)
        adapter = str(self._reference) if self._reference else None
        tasks = [Task(stage, self._number, shard, adapter) for shard in todo]
        with blaming("the executor", f"running stage {stage}"):
            for task in self._session.executor.map(tasks):
                done += sizes[task.shard]
                self._session.progress(stage, done, total)

    def _finish(self, stage: str, announce: bool) -> None:
        """Seal a stage whose shards are all in, refuse an empty result, and tell the observers."""
        for name in SHARDED[stage]:
            self._folder.table(name).seal()
        table = self._folder.table(SHARDED[stage][-1])
        totals = table.totals()
        left_out = sum(number for reason, number in totals.items() if reason != "rows")
        # A prompt without questions has no row in its table; an unscored candidate has one.
        usable = totals["rows"] - (left_out if stage == "score" else 0)
        if usable <= 0:
            raise DataError(
                f"Stage {stage} ended with nothing that the next one could use in {table.folder}: "
                f"{described(totals)}. Look at its tables, choose other prompts or another component, "
                "and use a new run directory."
            )
        if announce and stage == FEATURES:
            self._announce(stage, None)
        elif announce:
            columns = [name for name in table.read(0).column_names if name not in IMAGES]
            self._announce(stage, table.table(columns))

    def _require_all_shards(self) -> None:
        for stage in BEFORE_PAIRS:
            if stage == "questions" and not self._asks_questions():
                continue
            missing = self._folder.missing(stage)
            if missing:
                raise Incomplete(
                    f"Stage {stage} still misses {len(missing)} of {self._folder.shard_count()} "
                    f"shards in {self._folder.path} (first: {missing[0]}). This part is done; the "
                    "last of the other --shard commands goes on, or the command without --shard."
                )
            self._finish(stage, announce=False)

    # ------------------------------------------------------------------------------------ the work

    def _train(self) -> None:
        session, folder = self._session, self._folder
        log = TrainingLog(folder.metrics)

        def observe(step: int, metrics: Mapping[str, float]) -> None:
            log.append(step, metrics)
            session.progress("train", step, int(metrics.get("total_steps", 0)))
            # the trainer stores its own: no observer may change them
            session.observers.train_step(session.folder.path, self._number, step, dict(metrics))

        inputs = trainer_input(self._settings, session.components, folder, self._scope)
        model = session.components.lend_model()
        trainer = session.components.get("trainer")
        make_folder(folder.work)
        with atomic_folder(folder.adapter) as out:
            job = TrainingJob(
                model, inputs.preferences, start=self._reference, out=out, work=folder.work,
                seed=self._scope.derive("train"), observe=observe, validate=inputs.validate, rollout=inputs.rollout,
            )
            metrics = trainer.train(job)
        seal_adapter(folder.adapter, metrics)


def keeps_features(settings: RunSettings, components: Components) -> bool:
    """Say whether the run has a stage `features`: a continuous model whose candidates it samples itself."""
    return settings.pairs is None and components.continuous


def require_offline_fits(settings: RunSettings, until: str | None, from_: str | None) -> None:
    """Refuse what cannot be done on the user's own pairs.

    Raises:
        UsageError: `--pairs` with `--iterations` above 1, or with a stage that it leaves out.
    """
    if settings.pairs is None:
        return
    if settings.iterations != 1:
        raise UsageError("--pairs trains once on the given file; leave --iterations at 1.")
    for option, stage in (("--until", until), ("--from", from_)):
        if stage is not None and STAGES.index(stage) < STAGES.index("pairs"):
            raise UsageError(
                f"--pairs begins with stage pairs, so there is no stage {stage}; "
                f"leave {option} {stage} out, or give pairs or train."
            )


def usable_totals(folder: IterationFolder) -> dict[str, dict[str, int]]:
    """Return rows and counts of what was left out for each table of an iteration that is there."""
    tables: dict[str, Shards] = {"prompts": folder.prompts, "pairs": folder.pairs}
    if not folder.prompts.missing():
        tables.update({name: folder.table(name) for names in SHARDED.values() for name in names})
    return {name: table.totals() for name, table in tables.items() if not table.missing()}
