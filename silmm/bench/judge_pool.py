"""The judges of one benchmark: opened, known by identity, checked by canaries, asked once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from silmm.bench.answer_store import AnswerStore
from silmm.bench.canaries import check
from silmm.bench.judge_handle import JudgePool, if_short
from silmm.bench.requests import LEFT_OUT, BenchRequest
from silmm.bench.roles import check_ability, method_of
from silmm.contracts.judges import Judge
from silmm.contracts.options import Given, canonical, complete
from silmm.errors import DataError, PluginError, SilmmError, UsageError
from silmm.registry.component_path import PATH_OPTIONS
from silmm.storage.user_folders import DATA_VARIABLE

if TYPE_CHECKING:
    from silmm.registry.registry import Registry

Found = TypeVar("Found")
_CANARIES = ("canaries", "failed")
"""Key under which a judge's store keeps what it failed."""


@dataclass(frozen=True)
class JudgeHandle:
    """One role, who holds it, and that judge's answers so far."""

    role: str
    name: str
    identity: Mapping[str, str]
    """What the answers depend on, for the card."""
    store: AnswerStore
    opened: Callable[[], Judge]
    """Opens the judge, or returns it if it is open."""

    @property
    def judge(self) -> Judge:
        """The judge itself, opened again if it was let go of.

        Raises:
            DataError: it is another one than its answers are stored for: its weights changed meanwhile.
        """
        judge = self.opened()
        if identity_of(self.name, judge) != self.identity:
            raise DataError(
                f"the judge {self.name!r} ({self.role}) changed while it was at work: its files are others "
                "than at the start. Run the same command again."
            )
        return judge


def identity_of(name: str, judge: Judge) -> dict[str, str]:
    """Return what a judge's answers depend on, as texts."""
    return {"judge": name, **{key: str(value) for key, value in judge.identity.items()}}


def open_judges(
    roles: Mapping[str, str], request: BenchRequest, registry: Registry, needed: Sequence[str], judge_pool: JudgePool
) -> dict[str, JudgeHandle]:
    """Open each judge of the roles that are needed once, to know who it is and whether canaries pass.

    A role that is left out has no seat. Two roles with one judge and equal options share the judge.

    Args:
        roles: role -> official judge.
        request: names other judges and their options.
        registry: where judges are found.
        needed: the roles that are asked.
        chair: what holds the open judges.

    Raises:
        UsageError: an unknown role, judge or option, or a judge that cannot hold its role.
        DataError, PluginError: weights that are missing, or judges that stopped, all of them in one message.
    """
    return _of_each(
        roles, request, needed, lambda role, name, path: _handle(registry, role, name, path, request, judge_pool)
    )


def check_named(
    roles: Mapping[str, str], request: BenchRequest, registry: Registry, needed: Sequence[str]
) -> None:
    """Refuse judges and options of them that there are not; nothing is opened, so it is known before sampling.

    Raises:
        UsageError, PluginError: as :func:`seats`.
    """
    judge_pool = JudgePool(one_judge=True)
    _of_each(
        roles, request, needed, lambda role, name, path: _opener(registry, role, name, path, request, judge_pool)
    )


def _of_each(
    roles: Mapping[str, str], request: BenchRequest, needed: Sequence[str],
    act: Callable[[str, str, str], Found],
) -> dict[str, Found]:
    """Return what `act` makes of the role, judge and path of each needed role that is not left out.

    Raises:
        UsageError, DataError, PluginError: what went wrong with all of them, in one message.
    """
    for role in request.judges:
        method_of(role)  # a role of another benchmark in the same command is no error
    found: dict[str, Found] = {}
    problems: list[str] = []
    kinds: list[SilmmError] = []
    for role in needed:
        spec = request.judges.get(role, roles[role])
        if spec == LEFT_OUT:
            continue
        name, _, path = spec.partition(":")
        try:
            found[role] = act(role, name, path)
        except (DataError, PluginError, UsageError) as error:
            problems.append(f"{role} ({name}): {error}")
            kinds.append(error)
    if problems:
        alike = (one for one in (DataError, PluginError) if all(isinstance(error, one) for error in kinds))
        kind: type[SilmmError] = next(alike, UsageError)
        raise kind(
            "judges cannot be used:\n  " + "\n  ".join(problems)
            + "\nTake another with --judge ROLE=NAME[:PATH], or leave a role, and the columns that need it, "
            f"empty with --judge ROLE={LEFT_OUT}."
        )
    return found


def check_canaries(handle: JudgeHandle, how: str, note: Callable[[str], None]) -> list[str]:
    """Return what a judge failed when it was asked what is known; :func:`seats` asked it, once for all.

    Raises:
        PluginError: it failed and `how` is "stop".
    """
    if how == "off":
        return []
    failed = [str(text) for text in handle.store[_CANARIES]]
    if failed and how == "stop":
        raise PluginError(
            f"the judge {handle.name!r} ({handle.role}) fails its canaries, so no number of it is to be trusted: "
            f"{'; '.join(failed)}. Check its weights; --canaries warn scores all the same and says so."
        )
    for text in failed:
        note(f"warning: the judge {handle.name!r} fails a canary: {text}")
    return failed


def _failed_canaries(judge: Judge) -> list[str]:
    own = getattr(judge, "canaries", None)  # a judge of another world than ours knows its own
    if callable(own):
        return [str(text) for text in own()]
    return [str(result) for result in check(judge) if not result.passed]


def _opener(
    registry: Registry, role: str, name: str, path: str, request: BenchRequest, judge_pool: JudgePool
) -> Callable[[], Judge]:
    entry = registry.entry("judge", name)
    given = {key: Given(value, f"--set {role}.{key}", text=True)
             for key, value in request.sets.get(role, {}).items()}
    if path:
        fields = [field for field in PATH_OPTIONS["judge"] if field in entry.options.model_fields]
        if not fields:
            raise UsageError(f"the judge {name!r} takes no path")
        given[fields[0]] = Given(path, f"--judge {role}={name}:{path}", text=True)
    options = complete(entry.options, f"judge {name!r}", given)

    def build() -> Judge:
        with _data_folder(request.data):
            judge: Judge = registry.build("judge", name, options)
        return judge

    return partial(judge_pool.handle, canonical([name, options]), build)


def _handle(
    registry: Registry, role: str, name: str, path: str, request: BenchRequest, judge_pool: JudgePool
) -> JudgeHandle:
    """Open a judge and keep what is known of it; the chair decides how long the judge stays.

    Raises:
        DataError, UsageError: as :func:`seats` says of one judge.
        PluginError: it raised what is no error of ours, when it was opened or asked its canaries.
    """
    opened = _opener(registry, role, name, path, request, judge_pool)
    try:
        judge = opened()
        check_ability(judge, role, name)
        store = _store(request.out, role, name, judge)
        if request.canaries != "off" and _CANARIES not in store:
            store.commit([(_CANARIES, _failed_canaries(judge))])
        return JudgeHandle(role, name, identity_of(name, judge), store, opened)
    except SilmmError:
        raise
    except Exception as error:  # judges are anybody's code, and memories end
        raise PluginError(
            f"it stopped before it was asked about images: {type(error).__name__}: {error}; "
            f"{if_short(request.one_judge)}SILMM_DEBUG=1 shows where it stopped."
        ) from error


@contextmanager
def _data_folder(given: Path | None) -> Iterator[None]:
    """Let judges look for their weights where --data-dir says, as they do with the variable."""
    before = os.environ.get(DATA_VARIABLE)
    if given is not None:
        os.environ[DATA_VARIABLE] = str(given)
    try:
        yield
    finally:
        if given is not None:
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
