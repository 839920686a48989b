"""The judges of one benchmark: named, checked for files, opened, identified, and checked by canaries."""

from __future__ import annotations

import gc
import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from silmm.bench.bench_request import BenchRequest
from silmm.bench.judging.answer_store import AnswerStore
from silmm.bench.judging.canaries import failed_canaries
from silmm.bench.judging.roles import check_ability, method_of
from silmm.contracts.judges import LEFT_OUT, Judge
from silmm.contracts.options import Given, canonical, complete
from silmm.errors import DataError, PluginError, SilmmError, UsageError
from silmm.registry.component_path import PATH_OPTIONS
from silmm.storage.user_folders import DATA_VARIABLE

if TYPE_CHECKING:
    from silmm.registry.registration import Entry
    from silmm.registry.registry import Registry

Outcome = TypeVar("Outcome")
_CANARIES = ("canaries", "failed")
"""Key under which a judge's store keeps the canaries that it failed."""


def memory_hint(one_judge: bool) -> str:
    """Return what to do where memory was short, for a message; nothing where it is done already."""
    return "" if one_judge else "if memory was short, add --one-judge; "


@dataclass
class JudgePool:
    """Holds open judges; with `one_judge`, opening another one closes the one before first."""

    one_judge: bool
    _judges: dict[str, Judge] = field(default_factory=dict)

    def get(self, key: str, build: Callable[[], Judge]) -> Judge:
        """Return the judge called `key`, built unless it is open."""
        if key not in self._judges:
            if self.one_judge:
                self.clear()
            self._judges[key] = build()
        return self._judges[key]

    def clear(self) -> None:
        """Close all judges and free their memory, that of a GPU too."""
        if not self._judges:
            return
        self._judges.clear()
        gc.collect()  # models hold reference cycles
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()


@dataclass(frozen=True)
class JudgeHandle:
    """One role, its judge, and that judge's answers so far."""

    role: str
    name: str
    identity: Mapping[str, str]
    """What the answers depend on, for the card."""
    store: AnswerStore
    open_judge: Callable[[], Judge]
    """Opens the judge, or returns it if it is open."""

    @property
    def judge(self) -> Judge:
        """The judge itself, opened again if it was closed.

        Raises:
            DataError: it is another one than the one whose answers are stored: its files changed meanwhile.
        """
        judge = self.open_judge()
        if identity_of(self.name, judge) != self.identity:
            raise DataError(
                f"the judge {self.name!r} ({self.role}) changed while it was at work: its files differ from those "
                "at the start. Run the same command again."
            )
        return judge


@dataclass(frozen=True)
class JudgeChoice:
    """The judge chosen for a role, not opened."""

    role: str
    name: str
    entry: Entry
    options: Mapping[str, Any]
    """Complete."""

    @property
    def key(self) -> str:
        """Roles with equal keys share an open judge."""
        return canonical([self.name, self.options])


def identity_of(name: str, judge: Judge) -> dict[str, str]:
    """Return what a judge's answers depend on, as texts."""
    return {"judge": name, **{key: str(value) for key, value in judge.identity.items()}}


def check_judges(
    roles: Mapping[str, str], request: BenchRequest, registry: Registry, needed: Sequence[str]
) -> None:
    """Refuse judges that do not exist, wrong options, and judges whose files are missing; nothing is opened.

    Raises:
        UsageError, DataError, PluginError: as :func:`open_judges`.
    """

    def check(choice: JudgeChoice) -> None:
        if choice.entry.require_files is not None:
            with _data_folder(request.data):
                choice.entry.require_files(choice.entry.options.model_validate(dict(choice.options)))

    _for_each_role(roles, request, registry, needed, check)


def open_judges(
    roles: Mapping[str, str], request: BenchRequest, registry: Registry, needed: Sequence[str], judge_pool: JudgePool
) -> dict[str, JudgeHandle]:
    """Open the judge of each needed role once, to know its identity and whether it passes its canaries.

    A role that is left out has no handle. Two roles with one judge and equal options share the judge.

    Args:
        roles: role -> official judge.
        request: names other judges and their options.
        registry: where judges are found.
        needed: the roles that are asked.
        judge_pool: holds the open judges.

    Raises:
        UsageError: an unknown role, judge or option, or a judge that cannot hold its role.
        DataError, PluginError: weights that are missing, or judges that stopped, all of them in one message.
    """
    return _for_each_role(
        roles, request, registry, needed, lambda choice: _open(choice, request, registry, judge_pool)
    )


def _for_each_role(
    roles: Mapping[str, str], request: BenchRequest, registry: Registry, needed: Sequence[str],
    action: Callable[[JudgeChoice], Outcome],
) -> dict[str, Outcome]:
    """Return the outcome of `action` for the judge of each needed role that is not left out.

    Raises:
        UsageError, DataError, PluginError: what went wrong with all of them, in one message.
    """
    for role in request.judges:
        method_of(role)  # a role of another benchmark in the same command is no error
    outcomes: dict[str, Outcome] = {}
    problems: list[str] = []
    errors: list[SilmmError] = []
    for role in needed:
        spec = request.judges.get(role, roles[role])
        if spec == LEFT_OUT:
            continue
        try:
            outcomes[role] = action(_choose(role, spec, request, registry))
        except (DataError, PluginError, UsageError) as error:
            problems.append(f"{role} ({spec.partition(':')[0]}): {error}")
            errors.append(error)
    if problems:
        common = (kind for kind in (DataError, PluginError) if all(isinstance(error, kind) for error in errors))
        error_class: type[SilmmError] = next(common, UsageError)
        raise error_class(
            "judges cannot be used:\n  " + "\n  ".join(problems)
            + "\nTake another with --judge ROLE=NAME[:PATH], or leave a role, and the columns that need it, "
            f"empty with --judge ROLE={LEFT_OUT}."
        )
    return outcomes


def _choose(role: str, spec: str, request: BenchRequest, registry: Registry) -> JudgeChoice:
    name, _, path = spec.partition(":")
    entry = registry.entry("judge", name)
    options = {
        key: Given(value, f"--set {role}.{key}", text=True) for key, value in request.sets.get(role, {}).items()
    }
    if path:
        fields = [field for field in PATH_OPTIONS["judge"] if field in entry.options.model_fields]
        if not fields:
            raise UsageError(f"the judge {name!r} takes no path")
        options[fields[0]] = Given(path, f"--judge {role}={spec}", text=True)
    return JudgeChoice(role, name, entry, complete(entry.options, f"judge {name!r}", options))


def _open(choice: JudgeChoice, request: BenchRequest, registry: Registry, judge_pool: JudgePool) -> JudgeHandle:
    """Open a judge and keep what is known of it; the pool decides how long the judge stays open.

    Raises:
        DataError, UsageError: as :func:`open_judges` says of one judge.
        PluginError: it raised an error that is none of ours, when it was opened or asked its canaries.
    """

    def build() -> Judge:
        with _data_folder(request.data):
            judge: Judge = registry.build("judge", choice.name, choice.options)
        return judge

    open_judge = partial(judge_pool.get, choice.key, build)
    try:
        judge = open_judge()
        check_ability(judge, choice.role, choice.name)
        store = _store(request.out, choice.role, choice.name, judge)
        if request.canaries != "off" and _CANARIES not in store:
            store.commit([(_CANARIES, failed_canaries(judge))])
        return JudgeHandle(choice.role, choice.name, identity_of(choice.name, judge), store, open_judge)
    except SilmmError:
        raise
    except Exception as error:  # judges are third-party code, and memory may run out
        raise PluginError(
            f"it stopped before it was asked about images: {type(error).__name__}: {error}; "
            f"{memory_hint(request.one_judge)}SILMM_DEBUG=1 shows where it stopped."
        ) from error


def check_canaries(handle: JudgeHandle, how: str, note: Callable[[str], None]) -> list[str]:
    """Return the canaries that a judge failed; :func:`open_judges` asked them.

    Raises:
        PluginError: it failed and `how` is "stop".
    """
    if how == "off":
        return []
    failed = [str(text) for text in handle.store[_CANARIES]]
    if failed and how == "stop":
        raise PluginError(
            f"the judge {handle.name!r} ({handle.role}) fails its canaries, so that none of its numbers can be "
            f"trusted: {'; '.join(failed)}. Check its weights; with canaries set to warn it scores all the same, "
            "and the result says so."
        )
    for text in failed:
        note(f"warning: the judge {handle.name!r} fails a canary: {text}")
    return failed


@contextmanager
def _data_folder(folder: Path | None) -> Iterator[None]:
    """Let judges look for their weights in the folder of --data-dir, as they do in that of the variable."""
    before = os.environ.get(DATA_VARIABLE)
    if folder is not None:
        os.environ[DATA_VARIABLE] = str(folder)
    try:
        yield
    finally:
        if folder is not None:
            if before is None:
                del os.environ[DATA_VARIABLE]
            else:
                os.environ[DATA_VARIABLE] = before


def _store(out: Path, role: str, name: str, judge: Judge) -> AnswerStore:
    identity: dict[str, Any] = {"asked": method_of(role), "judge": name, **dict(judge.identity)}
    digest = hashlib.sha256(canonical(identity).encode()).hexdigest()
    store = AnswerStore(out / "answers" / f"{method_of(role)}-{digest[:16]}")
    store.describe(identity)
    return store.load()
