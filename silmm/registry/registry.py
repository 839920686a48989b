"""The registry: every component that the plugins offer, by kind and name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any

import pluggy

from silmm.errors import PluginError, UsageError
from silmm.registry import discovery as plugin_loader
from silmm.registry.discovery import BrokenPlugin, Origin
from silmm.registry.kernels import compose
from silmm.registry.observers import Observers
from silmm.registry.registration import Entry, collector
from silmm.suggestions import did_you_mean, listed

__all__ = ["COMPOSED", "KINDS", "KIND_OF_HOOK", "Entry", "Registry", "canonical_kind"]

KIND_OF_HOOK: Mapping[str, str] = MappingProxyType({
    "silmm_register_models": "model",
    "silmm_register_prompters": "prompter",
    "silmm_register_samplers": "sampler",
    "silmm_register_questioners": "questioner",
    "silmm_register_scorers": "scorer",
    "silmm_register_pair_rules": "pair-rule",
    "silmm_register_trainers": "trainer",
    "silmm_register_aggregations": "aggregation",
    "silmm_register_distances": "distance",
    "silmm_register_benchmarks": "benchmark",
    "silmm_register_judges": "judge",
    "silmm_register_generators": "generator",
    "silmm_register_executors": "executor",
    "silmm_register_data": "data",
    "silmm_register_trackers": "tracker",
})
COMPOSED = "kernel"
"""The kind that nobody registers: a kernel is an aggregation with a distance."""
KINDS = (
    *("model", "prompter", "sampler", "questioner", "scorer", "pair-rule", "trainer"),
    *("aggregation", "distance", COMPOSED, "benchmark", "judge", "generator", "executor", "data",
      "tracker"),
)
"""Kinds of components as the command line and TOML tables call them."""


def canonical_kind(kind: str) -> str:
    """Return the registry's word for a kind; "pair_rule" is "pair-rule".

    Raises:
        UsageError: There is no such kind.
    """
    word = kind.replace("_", "-")
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
        self._added: list[str] = []

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
            getattr(alone.hook, hook)(register=collector(kind, origin, collected))
        for entry in collected:
            self._entries[entry.kind].append(entry)

    def add(self, plugin: object, name: str, version: str = "0") -> None:
        """Let a plugin register that no installed package holds, such as one written in a notebook.

        Runs with several workers refuse it, since each worker loads the installed plugins alone.

        Args:
            plugin: A module or an object with hook implementations.
            name: What stands for its distribution.
            version: Part of the identity of runs that use its components: change it with the code.

        Raises:
            PluginError: The plugin or one of its components is not valid.
        """
        plugin_loader.add(self._plugins.manager, Origin(name, "", name, version), plugin, self._accept)
        self._added.append(name)
        self.__dict__.pop("_kernels", None)

    @property
    def added(self) -> tuple[str, ...]:
        """The names of the plugins that :meth:`add` brought."""
        return tuple(self._added)

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
        registered = self._kernels if word == COMPOSED else self._entries[word]
        return tuple(sorted(registered, key=lambda entry: (entry.name, entry.distribution)))

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
        matches = [entry for entry in entries if name in (entry.name, entry.qualified)] or [
            entry for entry in entries
            if name in [f"{half.distribution}/{entry.name}" for half in entry.halves]
        ]
        if not matches:
            raise self._unknown(word, name, [entry.name for entry in entries])
        if len(matches) > 1:
            raise PluginError(_ambiguous(word, name, matches))
        if matches[0].problem:
            raise PluginError(
                f"the {word} {name!r} cannot be used: {matches[0].problem}. Take another {word}, or ask "
                "the author of one half to rename it."
            )
        return matches[0]

    def _unknown(self, kind: str, name: str, names: list[str]) -> PluginError | UsageError:
        message = (
            f"there is no {kind} {name!r}{did_you_mean(name, names)} Known: {listed(names)}."
        )
        if not self.broken:
            return UsageError(f"{message} `silmm plugins --kind {kind}` describes them.")
        reports = "\n".join(f"{plugin.origin}:\n{plugin.traceback}" for plugin in self.broken)
        return PluginError(f"{message} These plugins are broken and may hold it:\n{reports}")

    def build(self, kind: str, name: str, options: Mapping[str, Any], **parts: object) -> Any:
        """Build a component from its options; `parts` go to a factory that needs them.

        Raises:
            UsageError, PluginError: As :meth:`entry`, or a part that the component does not take.
        """
        entry = self.entry(kind, name)
        for part in parts:
            if part not in entry.needs:
                raise UsageError(f"the {entry.kind} {name!r} takes no {part}")
        return entry.factory(entry.options.model_validate(dict(options)), **parts)


def _ambiguous(kind: str, name: str, matches: Sequence[Entry]) -> str:
    owners = " and ".join(map(_owner, matches))
    forms = sorted({repr(broken.qualified) for broken in matches})
    # One distribution may offer a name twice; its qualified form tells nothing apart then.
    way_out = f"ask for {' or '.join(forms)}" if len(forms) == len(matches) else "rename one of them"
    return (
        f"the {kind} {name!r} is offered by {owners}; {way_out}, or leave one out "
        f"with {plugin_loader.LOAD_VARIABLE}"
    )


def _owner(entry: Entry) -> str:
    halves = " with ".join(f"{half.kind} {half.name!r}" for half in entry.halves)
    return f"{entry.distribution} {entry.version}{f' ({halves})' if halves else ''}"
