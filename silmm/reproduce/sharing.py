"""No stage runs twice: finished stages of earlier runs are linked into a run that would make the same bytes.

The bytes of a stage depend on some of the settings only (:func:`stage_digests`), and equal settings give equal bytes.
So the folder of a finished stage equals the one that the new run would make itself, and its run.json stays true.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silmm.bench.evaluation import kept_by_content
from silmm.bench.runner import build_benchmark
from silmm.contracts.options import canonical
from silmm.engine.component_options import FIELD_OF_KIND
from silmm.errors import SilmmError
from silmm.lora.adapter_record import adapter_record, finished_adapter
from silmm.storage.atomic_files import atomic_folder, atomic_write, make_folder
from silmm.storage.json_files import read_json
from silmm.storage.paths import SHARDED, STAGES, IterationFolder, RunFolder

if TYPE_CHECKING:
    from silmm.engine.settings import RunSettings
    from silmm.registry.registry import Registry

EVALUATION = "evaluation"
QUESTIONS = "questions"
"""The stage that only runs with a component that needs answers have."""
ANSWERS = "answers"
"""Part of stage `score`: the model's answers, which do not depend on the scorer."""
DEPENDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "prompts": (("start",), ("prompter", "benchmark", ".prompts", ".limit")),
    "sample": (("prompts",), ("sampler", ".images_per_prompt", ".decodes_per_candidate")),
    QUESTIONS: (("prompts",), ("questioner",)),
    ANSWERS: (("sample", QUESTIONS), ("judge_model",)),
    "score": ((ANSWERS,), ("scorer",)),
    "pairs": (("score",), ("pair-rule", ".pairs")),
    "features": (("sample", "pairs"), ()),
    "train": (("pairs",), ("trainer", "kernel")),
}
"""Stage -> the stages that it reads, and what else it depends on: kinds of component, `.setting`s.

Stage `features` is that of continuous models alone; other runs never have it finished.
"""
ALWAYS = ("model", ".seed", ".shard_size", ".threads")
"""Settings that every stage depends on; the start of an iteration depends also on the training before it."""
_EVALUATION = ("model", "benchmark", ".seed", ".limit", ".threads")
_KNOWN = frozenset({
    *FIELD_OF_KIND.values(), "options", "iterations",
    *(name[1:] for name in ALWAYS if name.startswith(".")),
    *(name[1:] for _, own in DEPENDS.values() for name in own if name.startswith(".")),
})
"""Settings whose effect is stated above; any other one counts for every stage, to be on the safe side."""

Digests = dict[tuple[int, str], str]
"""(iteration, stage) -> digest of all that decides the stage's bytes; the evaluation is under iteration 0."""


def stage_digests(record: Mapping[str, Any]) -> Digests:
    """Return a digest of all that decides the bytes of each stage of a run, from the content of its run.json."""
    others = {name: value for name, value in record["settings"].items() if name not in _KNOWN}
    digests: Digests = {(0, EVALUATION): _digest(_parts(record, _EVALUATION), others, record["format"])}
    previous = ""
    for number in range(1, int(record["settings"]["iterations"]) + 1):
        start = _digest(_parts(record, ALWAYS), others, record["format"], number, previous)
        by_stage = {"start": start}
        for stage, (inputs, own) in DEPENDS.items():
            asked = record["asks_questions"] if stage == QUESTIONS else None
            by_stage[stage] = _digest(stage, [by_stage[name] for name in inputs], _parts(record, own), asked)
            digests[number, stage] = by_stage[stage]
        previous = by_stage["train"]
    return digests


def _parts(record: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    settings, sources = record["settings"], record["components"]
    parts: dict[str, Any] = {}
    for name in names:
        if name.startswith("."):
            parts[name] = settings[name.removeprefix(".")]
        else:
            options = settings["options"].get(name)
            parts[name] = [settings.get(FIELD_OF_KIND[name]), options, sources.get(name)]
    return parts


def _digest(*parts: object) -> str:
    return hashlib.sha256(canonical(parts).encode()).hexdigest()


class Sharing:
    """An observer of runs: before the stages of a run begin, it links the finished stages of earlier runs."""

    def __init__(
        self, settings: RunSettings, registry: Registry, donors: Sequence[Path],
        note: Callable[[str], None] = lambda _: None,
        record: Callable[[Mapping[str, str]], None] = lambda _: None,
    ) -> None:
        """Prepare to share with the run of `settings`.

        Args:
            settings: of the run that will start.
            registry: holds its scorer and benchmark.
            donors: run directories, the best first; other directories give nothing.
            note: called with one line per shared stage.
            record: called with :attr:`shared` when it is complete.
        """
        self._settings = settings
        self._registry = registry
        self._donors = donors
        self._note = note
        self._record = record
        self.shared: dict[str, str] = {}
        """Stage (`iter-1/sample`, `eval`) -> the run directory that it came from."""

    def silmm_run_started(self, run: Path) -> None:
        """Link finished stages into `run`, whose run.json is written and whose lock is held.

        A stage that cannot be shared, because a donor is damaged or a scorer fails, is left to the run itself.
        """
        try:
            self._share(run)
        except SilmmError as error:
            self._note(f"some stages could not be shared: {error}")
        for stage, donor_name in self.shared.items():
            self._note(f"{stage} reused from {donor_name}")
        self._record(self.shared)

    def _share(self, run: Path) -> None:
        digests = stage_digests(read_json(run / "run.json"))
        donors = [(donor, own) for donor in self._donors if (own := _digests_of(donor, run))]
        for number in range(1, self._settings.iterations + 1):
            if not self._share_iteration(run, number, digests, donors):
                break  # later iterations start from an adapter that is still to be trained
        for donor in _same_evaluation(digests, donors):
            if self._share_evaluation(run, donor):
                self.shared.setdefault("eval", donor.name)

    def _share_iteration(
        self, run: Path, number: int, digests: Digests, donors: Sequence[tuple[Path, Digests]]
    ) -> bool:
        """Link the stages of one iteration; say whether its training, which the next one needs, is finished."""
        target = self._folder(run, number)
        for stage in STAGES:
            if stage not in DEPENDS or _finished(target, stage):
                continue
            for donor, donor_digests in donors:
                source = self._folder(donor, number)
                if donor_digests.get((number, stage)) == digests[number, stage] and _finished(source, stage):
                    _link_stage(source, target, stage)
                    self.shared[f"iter-{number}/{stage}"] = donor.name
                    break
            else:
                if stage == "score":
                    self._score_stored_answers(target, number, digests, donors)
        return _finished(target, "train")

    def _score_stored_answers(
        self, target: IterationFolder, number: int, digests: Digests, donors: Sequence[tuple[Path, Digests]]
    ) -> None:
        """Score the answers of a run that differs in its scorer alone; the model is not asked again."""
        from silmm.reproduce.rescoring import score_stored_answers

        if self._settings.entry(self._registry, "scorer").needs != {"answers"}:
            return  # this scorer sees more than answers, or none
        if not all(_finished(target, stage) for stage in ("prompts", "sample", "questions")):
            return
        for donor, donor_digests in donors:
            source = self._folder(donor, number)
            same = donor_digests.get((number, ANSWERS)) == digests[number, ANSWERS]
            if same and _finished(source, "score"):
                score_stored_answers(self._settings, self._registry, number, source.table("answers"), target)
                self.shared[f"iter-{number}/answers"] = donor.name
                return

    def _share_evaluation(self, run: Path, donor: Path) -> bool:
        """Link the files that the benchmark keeps by content; say whether any was new."""
        name = self._settings.component("benchmark")
        if name is None:
            return False
        options = self._settings.options["benchmark"]
        source, target = donor / "eval", run / "eval"
        if not source.is_dir():
            return False
        kept = kept_by_content(build_benchmark(self._registry, name, options), source)
        missing = [path for path in kept if not (target / path.name).exists()]
        for path in missing:
            _link(path, target / path.name)
        return bool(missing)

    def _folder(self, run: Path, number: int) -> IterationFolder:
        return RunFolder(run, self._settings.shard_size).iteration(number)


def _digests_of(donor: Path, run: Path) -> Digests | None:
    """Return a donor's digests; None where it is the run itself or not a readable run."""
    try:
        return None if donor.resolve() == run.resolve() else stage_digests(read_json(donor / "run.json"))
    except Exception:  # a damaged donor gives nothing; the run makes the stage itself
        return None


def _same_evaluation(digests: Digests, donors: Sequence[tuple[Path, Digests]]) -> list[Path]:
    """Return the runs whose evaluation can be shared: all with an equal adapter, and one for the base model."""
    same = [(donor, own) for donor, own in donors if own[0, EVALUATION] == digests[0, EVALUATION]]
    trained = {key: digest for key, digest in digests.items() if key[1] == "train"}
    with_adapter = [donor for donor, own in same if any(own.get(key) == trained[key] for key in trained)]
    evaluated = [donor for donor, _ in same if (donor / "eval").is_dir()]
    return list(dict.fromkeys([*with_adapter, *evaluated[:1]]))


def _tables(stage: str) -> tuple[str, ...]:
    return SHARDED.get(stage, (stage,))


def _finished(folder: IterationFolder, stage: str) -> bool:
    """Say whether a stage is sealed; a stage is sealed after its last shard."""
    if stage == "train":
        return finished_adapter(folder.adapter)
    return all((folder.path / name / "manifest.json").is_file() for name in _tables(stage))


def _link_stage(source: IterationFolder, target: IterationFolder, stage: str) -> None:
    """Link a stage's files; the file that marks it as finished comes last."""
    make_folder(target.path)
    if stage == "prompts" and source.prompter.is_file():
        _link(source.prompter, target.prompter)
    if stage != "train":
        for name in _tables(stage):
            _link(source.path / name, target.path / name)
        return
    if source.metrics.is_file():
        atomic_write(target.metrics, source.metrics.read_bytes())  # a copy: a training appends to its file
    _link(source.adapter, target.adapter)
    _link(adapter_record(source.adapter), adapter_record(target.adapter))


def _link(source: Path, target: Path) -> None:
    """Link all files of a folder, all or none (a run never writes files in place); copy a single file."""
    if not source.is_dir():
        atomic_write(target, source.read_bytes())
        return
    with atomic_folder(target) as folder:
        for path in _files(source):
            copy = folder / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, copy, follow_symlinks=False)
            except OSError:  # another file system, or one without links
                shutil.copyfile(path, copy)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
