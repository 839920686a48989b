"""The registry: every component that the plugins offer, by kind and name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias, get_args

import pluggy
import pydantic

from silmm import plugins as plugin_loader
from silmm.errors import PluginError, UsageError
from silmm.interfaces import Capability
from silmm.kernels import compose
from silmm.observers import Observers
from silmm.options import NAME_KEY, NoOptions
from silmm.plugins import BrokenPlugin, Origin
from silmm.suggestions import did_you_mean, listed

ModelKind = Literal["discrete", "continuous"]
Part = Literal["kernel"]
"""A further component that a factory takes as a keyword argument."""
Factory: TypeAlias = Callable[..., object]

BOTH: tuple[ModelKind, ...] = ("discrete", "continuous")
KIND_OF_HOOK: Mapping[str, str] = MappingProxyType({
    "silmm_register_models": "model",
    "silmm_register_prompters": "prompter",
    "silmm_register_samplers": "sampler",
    "silmm_register_questioners": "questioner",
    "silmm_register_scorers": "scorer",
    "silmm_register_pair_rules": "pairs",
    "silmm_register_trainers": "trainer",
    "silmm_register_aggregations": "aggregation",
    "silmm_register_distances": "distance",
    "silmm_register_benchmarks": "benchmark",
    "silmm_register_judges": "judge",
    "silmm_register_trackers": "tracker",
})
COMPOSED = "kernel"
"""The kind that nobody registers: a kernel is an aggregation with a distance."""
KINDS = (
    *("model", "prompter", "sampler", "questioner", "scorer", "pairs", "trainer"),
    *("aggregation", "distance", COMPOSED, "benchmark", "judge", "tracker"),
)
"""Kinds of components as the command line and TOML tables call them; "pairs" is the pair rule."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


class Register(Protocol):
    """The callback that registration hooks receive."""

    def __call__(
        self,
        name: str,
        factory: Factory,
        *,
        summary: str,
        options: type[pydantic.BaseModel] = NoOptions,
        requires: Collection[Capability] = (),
        kinds: Collection[ModelKind] = BOTH,
        accepts: Collection[Part] = (),
        defaults: Mapping[str, object] | None = None,
        capabilities: Collection[Capability] = (),
        kind: ModelKind | None = None,
        paper: str = "",
        check: Callable[[], str] | None = None,
        revision: str = "",
    ) -> None:
        """Register a component.

        Args:
            name: The name on the command line: lower case letters, digits, ``.``, ``_`` and ``-``.
            factory: ``factory(options)`` builds the component and imports what is heavy inside.
            summary: One line of help.
            options: Option class; every field has a default.
            requires: Capabilities that the base model must declare.
            kinds: Kinds of base model that the component works with.
            accepts: Further components that the factory takes: ``factory(options, kernel=...)``.
            defaults: Models only: settings that suit this model, for example
                ``{"prompts": 384, "trainer.nll": 0.5}``; users' settings come before them.
            capabilities: Models only: what the model can do.
            kind: Models only: whether its representations are tokens or features.
            paper: Where the paper describes it, for example ``Eq. 3``.
            check: Says in one line that installed files are sound, or raises (`silmm doctor`).
            revision: Content id of installed files that decide what the component does, such as weights:
                a run goes on with the same one only. It must be cheap, it is computed at every start.

        Raises:
            PluginError: The registration is not valid; the whole plugin counts as broken.
        """
        ...


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
    accepts: frozenset[Part] = frozenset()
    capabilities: frozenset[Capability] = frozenset()
    model_kind: ModelKind | None = None
    check: Callable[[], str] | None = None
    revision: str = ""
    halves: tuple[Entry, ...] = ()
    """Kernels only: the aggregation and the distance."""
    problem: str = ""
    """Kernels only: why the two halves do not go together."""

    @property
    def qualified(self) -> str:
        """The name with its owner, ``distribution/name``; two owners of a kernel stand as ``one+two``."""
        return f"{self.distribution}/{self.name}"


def canonical_kind(kind: str) -> str:
    """Return the registry's word for a kind; "pair_rule" and "pair-rule" are "pairs".

    Raises:
        UsageError: There is no such kind.
    """
    word = "pairs" if kind in ("pair_rule", "pair-rule") else kind
    if word not in KINDS:
        raise UsageError(
            f"there is no kind of component {kind!r}{did_you_mean(kind, KINDS)} "
            f"Kinds: {', '.join(KINDS)}."
        )
    return word


class Registry:
    """All components that the sound plugins registered, and the plugins that are broken."""

    def __init__(self) -> None:
        """Make an empty registry; :meth:`load` fills one from the installed plugins."""
        self._entries: dict[str, list[Entry]] = {kind: [] for kind in KINDS}
        self._plugins = plugin_loader.Plugins(plugin_loader.new_manager())

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ) -> Registry:
        """Load all plugins that `environ` selects and let them register.

        Raises:
            UsageError: ``SILMM_LOAD_PLUGINS`` names something that is not installed.
        """
        registry = cls()
        registry._plugins = plugin_loader.load(registry._accept, environ=environ)
        return registry

    def _accept(self, alone: pluggy.PluginManager, origin: Origin) -> None:
        collected: list[Entry] = []
        for hook, kind in KIND_OF_HOOK.items():
            getattr(alone.hook, hook)(register=_collector(kind, origin, collected))
        for entry in collected:
            self._entries[entry.kind].append(entry)

    @property
    def broken(self) -> tuple[BrokenPlugin, ...]:
        """The plugins that could not be used."""
        return tuple(self._plugins.broken)

    @property
    def loaded(self) -> tuple[Origin, ...]:
        """The plugins that are in use."""
        return tuple(self._plugins.loaded)

    def observers(self, extra: Sequence[object] = ()) -> Observers:
        """Return the typed door to all observation hooks, with further observing objects."""
        return Observers(self._plugins.manager, extra)

    def entries(self, kind: str) -> tuple[Entry, ...]:
        """Return the entries of a kind by name; two of one name stand side by side."""
        word = canonical_kind(kind)
        found = self._kernels if word == COMPOSED else self._entries[word]
        return tuple(sorted(found, key=lambda entry: (entry.name, entry.distribution)))

    @cached_property
    def _kernels(self) -> list[Entry]:
        return compose(self.entries("aggregation"), self.entries("distance"))

    def entry(self, kind: str, name: str) -> Entry:
        """Return the entry called `name` or ``distribution/name``.

        The distribution of a kernel may be that of either half.

        Raises:
            UsageError: There is no such name.
            PluginError: Two distributions offer the name, a broken plugin may hold it, or it is a kernel
                whose halves do not go together.
        """
        word = canonical_kind(kind)
        entries = self.entries(word)
        found = [entry for entry in entries if name in (entry.name, entry.qualified)] or [
            entry for entry in entries
            if name in [f"{half.distribution}/{entry.name}" for half in entry.halves]
        ]
        if not found:
            raise self._unknown(word, name, [entry.name for entry in entries])
        if len(found) > 1:
            raise PluginError(_ambiguous(word, name, found))
        if found[0].problem:
            raise PluginError(
                f"the {word} {name!r} cannot be used: {found[0].problem}. Take another {word}, or ask "
                "the author of one half to rename it."
            )
        return found[0]

    def _unknown(self, kind: str, name: str, known: list[str]) -> PluginError | UsageError:
        message = (
            f"there is no {kind} {name!r}{did_you_mean(name, known)} Known: {listed(known)}."
        )
        if not self.broken:
            return UsageError(f"{message} `silmm plugins --kind {kind}` describes them.")
        reports = "\n".join(f"{one.origin}:\n{one.traceback}" for one in self.broken)
        return PluginError(f"{message} These plugins are broken and may hold it:\n{reports}")

    def build(self, kind: str, name: str, options: Mapping[str, Any], **parts: object) -> Any:
        """Build a component from its options; `parts` go to a factory that accepts them.

        Raises:
            UsageError, PluginError: As :meth:`entry`, or a part that the component does not take.
        """
        entry = self.entry(kind, name)
        for part in parts:
            if part not in entry.accepts:
                raise UsageError(f"the {entry.kind} {name!r} takes no {part}")
        return entry.factory(entry.options.model_validate(dict(options)), **parts)


def _ambiguous(kind: str, name: str, found: Sequence[Entry]) -> str:
    owners = " and ".join(map(_owner, found))
    forms = sorted({repr(one.qualified) for one in found})
    # One distribution may offer a name twice; its qualified form tells nothing apart then.
    way_out = f"ask for {' or '.join(forms)}" if len(forms) == len(found) else "rename one of them"
    return (
        f"the {kind} {name!r} is offered by {owners}; {way_out}, or leave one out "
        f"with {plugin_loader.LOAD_VARIABLE}"
    )


def _owner(entry: Entry) -> str:
    halves = " with ".join(f"{half.kind} {half.name!r}" for half in entry.halves)
    return f"{entry.distribution} {entry.version}{f' ({halves})' if halves else ''}"


def _collector(hook_kind: str, origin: Origin, collected: list[Entry]) -> Register:
    def register(
        name: str,
        factory: Factory,
        *,
        summary: str,
        options: type[pydantic.BaseModel] = NoOptions,
        requires: Collection[Capability] = (),
        kinds: Collection[ModelKind] = BOTH,
        accepts: Collection[Part] = (),
        defaults: Mapping[str, object] | None = None,
        capabilities: Collection[Capability] = (),
        kind: ModelKind | None = None,
        paper: str = "",
        check: Callable[[], str] | None = None,
        revision: str = "",
    ) -> None:
        entry = Entry(
            kind=hook_kind,
            name=name,
            factory=factory,
            summary=summary,
            options=options,
            requires=frozenset(requires),
            kinds=tuple(kinds),
            distribution=origin.distribution,
            version=origin.version,
            defaults=MappingProxyType(dict(defaults or {})),
            paper=paper,
            accepts=frozenset(accepts),
            capabilities=frozenset(capabilities),
            model_kind=kind,
            check=check,
            revision=revision,
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
    unknown = sorted((entry.requires | entry.capabilities) - set(capabilities))
    rules = {
        "a name holds lower-case letters, digits, '.', '_' and '-'": not _NAME.fullmatch(
            entry.name
        ),
        "this plugin registers the name twice": any(
            (one.kind, one.name) == (entry.kind, entry.name) for one in collected
        ),
        "the factory cannot be called": not callable(entry.factory),
        "the summary is empty or has more than one line": len(entry.summary.splitlines()) != 1,
        f"unknown capability {', '.join(unknown)}; known: {', '.join(capabilities)}": bool(unknown),
        "kinds are 'discrete' and 'continuous'": not set(entry.kinds) <= set(BOTH),
        "a model states kind='discrete' or kind='continuous'": is_model
        and entry.model_kind not in BOTH,
        "only models state kind, capabilities and defaults": not is_model
        and bool(entry.model_kind or entry.capabilities or entry.defaults),
    }
    broken = [text for text, fails in rules.items() if fails]
    return broken[0] if broken else _options_problem(entry.options)


def _options_problem(options: type[pydantic.BaseModel]) -> str:
    if not (isinstance(options, type) and issubclass(options, pydantic.BaseModel)):
        return "options is not a pydantic model class"
    if NAME_KEY in options.model_fields:
        return f"an option may not be called {NAME_KEY!r}: in a TOML table it picks the component"
    bare = [name for name, info in options.model_fields.items() if info.is_required()]
    return f"options without a default: {', '.join(bare)}" if bare else ""
