"""One call for a whole run: open the directory, improve the model, evaluate it, sum it up."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silmm.bench.evaluation import RunEvaluation
from silmm.contracts.executors import Executor
from silmm.contracts.records import EvalResult
from silmm.engine import capabilities
from silmm.engine import distributed as ranks
from silmm.engine.iteration import require_offline_fits, usable_totals
from silmm.engine.loop import improve
from silmm.engine.session import Session, Stopped
from silmm.engine.settings import digest_of
from silmm.engine.stages.pair_stage import makes_pairs
from silmm.engine.workers.local_executor import LocalExecutor
from silmm.engine.workers.run_components import Components
from silmm.engine.workers.shard_worker import RunWorker, RunWorkload
from silmm.errors import PluginError, SettingsChanged, UsageError
from silmm.report import PAGE
from silmm.storage.atomic_files import atomic_write, full_disk, make_folder, unfinished
from silmm.storage.json_files import read_json, to_json
from silmm.storage.lock import hold, turn
from silmm.storage.paths import STAGES, RunFolder
from silmm.storage.timings import Timings, total_seconds

if TYPE_CHECKING:
    from silmm.engine.settings import RunSettings
    from silmm.registry.registry import Registry

FORMAT = 2
"""Version of the run directory's layout, files and columns; a run of another one is not gone on with."""
_LOCK = re.compile(r"lock(-turn|-report|-\d+-of-\d+)?")


@dataclass(frozen=True)
class RunResult:
    """What a run came to."""

    run_dir: Path
    timings: Mapping[str, float]
    """Seconds per stage, iterations and resumed parts added up."""
    adapters: Mapping[str, Path]
    """"1", "2", … -> the PEFT folder of that iteration."""
    summary: Mapping[str, Any] | None
    """The content of summary.json, or None when `until` stopped the run before its end."""


def start(
    settings: RunSettings,
    run_dir: Path,
    *,
    workers: int = 1,
    executor: Executor | None = None,
    until: str | None = None,
    from_: str | None = None,
    shard: tuple[int, int] | None = None,
    observers: Sequence[object] = (),
    registry: Registry,
) -> RunResult:
    """Start the run of `settings` in `run_dir`, or go on with it.

    Under a launcher such as `torchrun` rank 0 does this, and the other ranks only train with it: their
    result is empty.

    Args:
        settings: what decides the result; it must equal the settings that made the directory.
        run_dir: new, empty, or the directory of this run.
        workers: processes that share the shards; the result does not depend on it.
        executor: runs the shards, in place of `workers` processes on this machine.
        until: stop after this stage of the first iteration.
        from_: begin at this stage of the first iteration; what comes before must be there.
        shard: (i, n): do only the shards whose number is i modulo n; whoever finds all of them done
            goes on with the rest of the run.
        observers: objects with observation hooks or `progress(stage, done, total)` as methods.
        registry: where the components come from; workers in other processes load their own.

    Raises:
        UsageError: a combination that cannot work, or `run_dir` is some other directory.
        PluginError: a component does not keep its contract.
        SettingsChanged: the directory belongs to other settings.
        RunBusy: another process is at work in the directory.
        DataError: an input or a stored file is missing or corrupt, or nothing usable is left.
        OutOfSpace: the disk is full.
        Incomplete: with `shard`: this part is done, others are not.
    """
    _check_arguments(workers, until, from_, shard)
    executor = LocalExecutor(workers) if executor is None else executor
    if not isinstance(executor, Executor):
        name = type(executor).__name__
        raise PluginError(f"{name} is not an executor: it lacks start, map, close, stop or in_process")
    if not executor.in_process and registry.added:
        raise UsageError(
            f"Worker processes load installed plugins only, and {', '.join(registry.added)} was added in this process. "
            "Use one worker, or install the plugin as a package (`silmm new-plugin` writes one)."
        )
    require_offline_fits(settings, until, from_)
    capabilities.check(registry, settings)
    identity = settings.identity()
    components = Components(settings, registry, identity)
    _check_pair_rule(settings, components)
    evaluation = _evaluation(settings, registry, identity)
    if evaluation:
        evaluation.check(judges=until is None)
    if ranks.processes() > 1:
        ranks.take_device()
    if ranks.rank() > 0:
        ranks.accompany(settings, run_dir, components, until)
        return RunResult(run_dir, {}, {}, None)
    _check_directory(run_dir)
    folder = RunFolder(run_dir, settings.shard_size)
    with hold(run_dir, shard):
        _open_identity(settings, identity, registry, folder)
        hooks = registry.observers(observers)
        hooks.run_started(run_dir, identity)
        executor.start(RunWorkload(settings, run_dir, identity), RunWorker(settings, run_dir, components))
        session = Session(
            settings=settings, identity=identity, folder=folder, components=components, executor=executor,
            observers=hooks, progress=hooks.progress, timings=Timings(folder.timings(shard)),
            excluded=evaluation.excluded if evaluation else _none_excluded,
            until=until, from_=from_, shard=shard,
        )
        result = _improve_and_evaluate(session, evaluation)
        hooks.run_finished(run_dir)
        return result


def _improve_and_evaluate(session: Session, evaluation: RunEvaluation | None) -> RunResult:
    run_dir = session.folder.path
    try:
        trained = improve(session)
    except Stopped:
        session.executor.close()
        return RunResult(run_dir, total_seconds(run_dir), _trained(session), None)
    except BaseException:
        session.executor.stop()
        raise
    session.executor.close()  # their models make room for the evaluation
    adapters = {str(number): path for number, path in enumerate(trained, start=1)}
    evaluated = _evaluate(session, evaluation, adapters) if evaluation else None
    summary = _summary(session, evaluated, adapters)
    atomic_write(session.folder.summary, to_json(summary))
    return RunResult(run_dir, summary["wall_seconds"], adapters, summary)


def _trained(session: Session) -> dict[str, Path]:
    numbers = range(1, session.settings.iterations + 1)
    folders = {str(number): session.folder.iteration(number).adapter for number in numbers}
    return {name: path for name, path in folders.items() if path.is_dir()}


def _evaluate(session: Session, evaluation: RunEvaluation, adapters: Mapping[str, Path]) -> EvalResult:
    """Score the base ("before") and each iteration's adapter ("1", "2", …) by the benchmark."""
    folder = session.folder.evaluation
    make_folder(folder)
    measured = session.timings.measure("evaluate")
    with measured, turn(session.folder.turn), full_disk(folder, "evaluating in"):
        return evaluation.evaluate(
            session.components.lend_model(),
            {"before": None, **adapters},
            work=folder,
            seed=session.settings.seed,
            limit=session.settings.limit,
            progress=session.progress,
        )


def _summary(
    session: Session, evaluation: EvalResult | None, adapters: Mapping[str, Path]
) -> dict[str, Any]:
    settings, run_dir = session.settings, session.folder.path
    result = _null_for_nan(asdict(evaluation)) if evaluation else {}
    numbers = range(1, settings.iterations + 1)
    return {
        "adapter": str(adapters[str(settings.iterations)]),
        "adapters": {name: str(path) for name, path in adapters.items()},
        "secondary": result.get("secondary", {}),
        "secondary_by_iteration": result.get("secondary_by_iteration", {}),
        "benchmark": result.get("benchmark"),
        "categories": result.get("categories", {}),
        "counts": {str(n): usable_totals(session.folder.iteration(n)) for n in numbers},
        "digest": digest_of(session.identity),
        "extra": result.get("extra", {}),
        "iterations": result.get("iterations", {}),
        "judge_model": settings.judge_model,
        "metric": result.get("metric"),
        "overall": result.get("overall"),
        "partial": settings.limit is not None or bool(result.get("partial", False)),
        "protocol": result.get("protocol", {}),
        "report": str(session.folder.report / PAGE),
        "run_dir": str(run_dir),
        "wall_seconds": total_seconds(run_dir),
    }


def _null_for_nan(value: Any) -> Any:
    """Return nested content with null for what is not finite: JSON has no NaN, readers show a dash."""
    if isinstance(value, Mapping):
        return {key: _null_for_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_null_for_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _evaluation(
    settings: RunSettings, registry: Registry, identity: Mapping[str, Any]
) -> RunEvaluation | None:
    name = settings.component("benchmark")
    if name is None:
        return None
    model_options = identity["options"]["model"]
    return RunEvaluation.choose(registry, name, settings.options["benchmark"], settings.model, model_options)


def _check_pair_rule(settings: RunSettings, components: Components) -> None:
    """Let the pair rule show, before hours of sampling, that it can make a pair at all."""
    entry = components.entry("pair-rule")
    if settings.pairs is not None or entry.needs:
        return
    candidates = settings.images_per_prompt
    if not makes_pairs(components.get("pair-rule"), candidates, entry.described):
        raise UsageError(
            f"--pair-rule {settings.pair_rule} makes no pair even of {candidates} candidates with scores "
            f"from 1 to -1; change its options ({json.dumps(settings.options['pair-rule'])}) or "
            "--images-per-prompt"
        )


def _none_excluded(prompt: str) -> bool:
    del prompt
    return False


def _check_arguments(
    workers: int, until: str | None, from_: str | None, shard: tuple[int, int] | None
) -> None:
    for option, stage in (("--until", until), ("--from", from_)):
        if stage is not None and stage not in STAGES:
            raise UsageError(f"{option} {stage}: no such stage; stages: {', '.join(STAGES)}.")
    if until and from_ and STAGES.index(until) < STAGES.index(from_):
        raise UsageError(f"--until {until} comes before --from {from_}; there is nothing to do.")
    if workers < 1:
        raise UsageError(f"--workers {workers}: at least 1 is needed.")
    if shard is not None and not 0 <= shard[0] < shard[1]:
        raise UsageError(f"--shard {shard[0]}/{shard[1]}: write i/n with 0 <= i < n.")
    if shard is not None and ranks.processes() > 1:
        raise UsageError(
            "--shard shares out images and answers, a launcher such as torchrun the training: leave "
            "--shard out here; run the shards with --until score first, then this command."
        )


def _check_directory(run_dir: Path) -> None:
    """Refuse a directory that holds other things: nothing of ours may be mixed into it."""
    if run_dir.exists() and not run_dir.is_dir():
        raise UsageError(f"{run_dir} is a file; give a directory for the run.")
    names = sorted(path.name for path in run_dir.iterdir()) if run_dir.is_dir() else []
    foreign = [name for name in names if not (_LOCK.fullmatch(name) or unfinished(name))]
    if foreign and "run.json" not in names:
        raise UsageError(
            f"{run_dir} is no run directory: it holds {foreign[0]!r} and no run.json. "
            "Give a new or empty directory."
        )


def _open_identity(
    settings: RunSettings, identity: Mapping[str, Any], registry: Registry, folder: RunFolder
) -> None:
    """Write what decides the result into a new directory, or compare it with that of an old one."""
    record = {
        "asks_questions": capabilities.asks_questions(registry, settings),
        "components": _sources(settings, registry),
        "digest": digest_of(identity),
        "format": FORMAT,
        "partial": settings.limit is not None,
        "settings": identity,
    }
    with turn(folder.turn):
        if not folder.identity.exists():
            atomic_write(folder.identity, to_json(record))
            return
    remedy = "The run cannot be told apart from others any more: use a new run directory."
    stored = read_json(folder.identity, remedy)
    if stored.get("format") != FORMAT:
        raise SettingsChanged(
            f"{folder.path} is a run directory of format {stored.get('format')!r:.40}, of another version of silmm; "
            f"this one writes and goes on with format {FORMAT}. Use a new run directory, or the version of silmm "
            "that made this one."
        )
    lines = _differences(stored, json.loads(to_json(record)))
    if lines:
        raise SettingsChanged(
            f"{folder.path} was made with other settings, packages or weights:\n" + "\n".join(lines) +
            "\nUse the old ones to go on with it, or a new directory for these."
        )


def _sources(settings: RunSettings, registry: Registry) -> dict[str, dict[str, str]]:
    """Return where each chosen component comes from: the same name may hide other code or weights."""
    entries = {kind: settings.entry(registry, kind) for kind in settings.options}
    return {
        kind: {"distribution": one.distribution, "revision": one.revision, "version": one.version}
        for kind, one in entries.items()
    }


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    before, after = _flat(old.get("settings", {})), _flat(new["settings"])
    for name in ("format", "components"):
        before |= _flat(old.get(name, {}), name)
        after |= _flat(new[name], name)
    names = sorted(before.keys() | after.keys())
    nothing = object()
    return [
        f"  {name}: {_shown(before, name)} there, {_shown(after, name)} now"
        for name in names if before.get(name, nothing) != after.get(name, nothing)
    ]


def _flat(value: object, name: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    inner: dict[str, Any] = {}
    for key, part in value.items():
        inner.update(_flat(part, f"{name}.{key}" if name else str(key)))
    return inner


def _shown(values: Mapping[str, Any], name: str) -> str:
    return json.dumps(values[name]) if name in values else "not set"
