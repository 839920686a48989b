"""Registration: what a plugin tells of a component, the checks of it, and the entry that is kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, get_args

import pydantic

from silmm.contracts.models import Capability
from silmm.contracts.options import NAME_KEY, NoOptions, checkpoint_options
from silmm.contracts.registration import BOTH, DEFAULT_NEEDS, NEEDS_OF_KIND, Factory, ModelKind, Need, Register
from silmm.errors import PluginError
from silmm.registry.discovery import Origin

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True)
class Entry:
    """A registered component."""

    kind: str
    name: str
    factory: Factory
    summary: str
    options: type[pydantic.BaseModel]
    requires: frozenset[Capability]
    kinds: tuple[ModelKind, ...]
    distribution: str
    version: str
    defaults: Mapping[str, object] = field(default_factory=dict)
    paper: str = ""
    needs: frozenset[Need] = frozenset()
    capabilities: frozenset[Capability] = frozenset()
    model_kind: ModelKind | None = None
    check: Callable[[], str] | None = None
    revision: str = ""
    probe: Factory | None = None
    require_files: Callable[[Any], None] | None = None
    halves: tuple[Entry, ...] = ()
    """Kernels only: the aggregation and the distance."""
    problem: str = ""
    """Kernels only: why the two halves do not go together."""

    @property
    def described(self) -> str:
        """The component as messages name it, its distribution included."""
        return f"The {self.kind} {self.name!r} of {self.distribution} {self.version}"

    @property
    def qualified(self) -> str:
        """The name with its owner, ``distribution/name``; two owners of a kernel stand as ``one+two``."""
        return f"{self.distribution}/{self.name}"


def collector(hook_kind: str, origin: Origin, collected: list[Entry]) -> Register:
    """Return the callback that checks what `origin` registers by a hook and appends it to `collected`."""

    def register(
        name: str,
        factory: Factory,
        *,
        summary: str,
        options: type[pydantic.BaseModel] = NoOptions,
        requires: Collection[Capability] = (),
        kinds: Collection[ModelKind] = BOTH,
        needs: Collection[Need] | None = None,
        defaults: Mapping[str, object] | None = None,
        capabilities: Collection[Capability] = (),
        kind: ModelKind | None = None,
        paper: str = "",
        check: Callable[[], str] | None = None,
        revision: str = "",
        probe: Factory | None = None,
        require_files: Callable[[Any], None] | None = None,
    ) -> None:
        needed = DEFAULT_NEEDS.get(hook_kind, frozenset[Need]()) if needs is None else frozenset(needs)
        answering: frozenset[Capability] = frozenset({"yes_no"} if "answers" in needed else ())
        entry = Entry(
            kind=hook_kind,
            name=name,
            factory=factory,
            summary=summary,
            options=options,
            requires=frozenset(requires) | answering,
            kinds=tuple(kinds),
            distribution=origin.distribution,
            version=origin.version,
            defaults=MappingProxyType(dict(defaults or {})),
            paper=paper,
            needs=needed,
            capabilities=frozenset(capabilities),
            model_kind=kind,
            check=check,
            revision=revision,
            probe=probe,
            require_files=require_files,
        )
        problem = _problem(entry, collected)
        if problem:
            raise PluginError(f"cannot register {hook_kind} {name!r}: {problem}")
        collected.append(entry)

    return register


def _problem(entry: Entry, collected: Sequence[Entry]) -> str:
    """Say what is wrong with a registration, or return an empty string."""
    is_model = entry.kind == "model"
    capabilities = get_args(Capability)
    needs = NEEDS_OF_KIND.get(entry.kind, frozenset[Need]())
    unknown = sorted((entry.requires | entry.capabilities) - set(capabilities))
    rules = {
        "a name holds lower-case letters, digits, '.', '_' and '-'": not _NAME.fullmatch(
            entry.name
        ),
        "this plugin registers the name twice": any(
            (earlier.kind, earlier.name) == (entry.kind, entry.name) for earlier in collected
        ),
        "the factory cannot be called": not callable(entry.factory),
        "the summary is empty or has more than one line": len(entry.summary.splitlines()) != 1,
        f"unknown capability {', '.join(unknown)}; known: {', '.join(capabilities)}": bool(unknown),
        "kinds are 'discrete' and 'continuous'": not set(entry.kinds) <= set(BOTH),
        "a model states kind='discrete' or kind='continuous'": is_model
        and entry.model_kind not in BOTH,
        "only models state kind, capabilities and defaults": not is_model
        and bool(entry.model_kind or entry.capabilities or entry.defaults),
        f"a {entry.kind} cannot need {', '.join(sorted(entry.needs - needs))}; it may need "
        f"{', '.join(sorted(needs)) or 'nothing'}": not entry.needs <= needs,
        "only judges state probe and require_files": entry.kind != "judge"
        and not (entry.probe is None and entry.require_files is None),
    }
    broken = [text for text, fails in rules.items() if fails]
    return broken[0] if broken else _options_problem(entry.options)


def _options_problem(options: type[pydantic.BaseModel]) -> str:
    if not (isinstance(options, type) and issubclass(options, pydantic.BaseModel)):
        return "options is not a pydantic model class"
    if NAME_KEY in options.model_fields:
        return f"an option may not be called {NAME_KEY!r}: in a TOML table it picks the component"
    try:
        checkpoint_options(options)
    except ValueError as error:
        return str(error)
    bare = [name for name, info in options.model_fields.items() if info.is_required()]
    return f"options without a default: {', '.join(bare)}" if bare else ""
