"""The judges of one benchmark: built by role, known by identity, checked by canaries, asked only once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silmm.bench import LEFT_OUT, BenchRequest
from silmm.data_sets import DATA_VARIABLE
from silmm.errors import DataError, PluginError, SilmmError, UsageError
from silmm.options import Given, canonical, complete
from silmm_benchmarks.judges.interfaces import Judge
from silmm_benchmarks.runner.answers import AnswerStore
from silmm_benchmarks.runner.roles import check_ability, method_of

if TYPE_CHECKING:
    from silmm.registry import Registry

PATH_OPTIONS = ("weights", "folder", "path", "model")
"""The option of a judge that the PATH of `--judge ROLE=NAME:PATH` stands for: the first that it has."""


_CANARIES = ("canaries", "failed")
"""Key under which a judge's store keeps what it failed."""


@dataclass(frozen=True)
class Seat:
    """One role, who holds it, and that judge's answers so far."""

    role: str
    name: str
    judge: Judge
    store: AnswerStore

    @property
    def identity(self) -> dict[str, str]:
        """What the answers depend on, for the card."""
        return {"judge": self.name, **{key: str(value) for key, value in self.judge.identity.items()}}


def seats(
    roles: Mapping[str, str], request: BenchRequest, registry: Registry, needed: Sequence[str]
) -> dict[str, Seat]:
    """Build the judges of the roles that are needed; a role that is left out has no seat.

    Two roles with one judge and equal options share the judge.

    Raises:
        UsageError: an unknown role, judge or option, or a judge that cannot hold its role.
        DataError: weights that are missing, all of them in one message.
    """
    for role in request.judges:
        method_of(role)  # a role of another benchmark in the same command is no error
    built: dict[str, Judge] = {}
    found: dict[str, Seat] = {}
    problems: list[str] = []
    kinds: list[SilmmError] = []
    for role in needed:
        spec = request.judges.get(role, roles[role])
        if spec == LEFT_OUT:
            continue
        name, _, path = spec.partition(":")
        try:
            judge = _build(registry, role, name, path, request, built)
        except SilmmError as error:
            problems.append(f"{role} ({name}): {error}")
            kinds.append(error)
            continue
        check_ability(judge, role, name)
        found[role] = Seat(role, name, judge, _store(request.out, role, name, judge))
    if problems:
        kind = DataError if all(isinstance(error, DataError) for error in kinds) else UsageError
        raise kind(
            "judges are missing:\n  " + "\n  ".join(problems)
            + "\nTake another with --judge ROLE=NAME[:PATH], or leave a role, and the columns that need it, "
            f"empty with --judge ROLE={LEFT_OUT}."
        )
    return found


def check_canaries(seat: Seat, how: str, note: Callable[[str], None]) -> list[str]:
    """Let a judge answer what is known before it scores; return what it failed.

    It is asked once: what came out is stored with its answers.

    Raises:
        PluginError: it failed and `how` is "stop".
    """
    if how == "off":
        return []
    if _CANARIES not in seat.store:
        seat.store.commit([(_CANARIES, _failed_canaries(seat.judge))])
    failed = [str(text) for text in seat.store[_CANARIES]]
    if failed and how == "stop":
        raise PluginError(
            f"the judge {seat.name!r} ({seat.role}) fails its canaries, so no number of it is to be trusted: "
            f"{'; '.join(failed)}. Check its weights; --canaries warn scores all the same and says so."
        )
    for text in failed:
        note(f"warning: the judge {seat.name!r} fails a canary: {text}")
    return failed


def _failed_canaries(judge: Judge) -> list[str]:
    own = getattr(judge, "canaries", None)  # a judge of another world than ours knows its own
    if callable(own):
        return [str(text) for text in own()]
    from silmm_benchmarks.judges.canaries import check

    return [str(result) for result in check(judge) if not result.passed]


def _build(
    registry: Registry, role: str, name: str, path: str, request: BenchRequest, built: dict[str, Judge]
) -> Judge:
    entry = registry.entry("judge", name)
    given = {key: Given(value, f"--set {role}.{key}", text=True)
             for key, value in request.sets.get(role, {}).items()}
    if path:
        fields = [field for field in PATH_OPTIONS if field in entry.options.model_fields]
        if not fields:
            raise UsageError(f"the judge {name!r} takes no path")
        given[fields[0]] = Given(path, f"--judge {role}={name}:{path}", text=True)
    options = complete(entry.options, f"judge {name!r}", given)
    key = canonical([name, options])
    if key not in built:
        with _data_folder(request.data):
            built[key] = registry.build("judge", name, options)
    return built[key]


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
