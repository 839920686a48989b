"""Resolves a run's settings from option defaults, the model's presets, a TOML file and the command line."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silmm.contracts.options import (
    NAME_KEY,
    Given,
    complete,
    split_assignment,
)
from silmm.engine.capabilities import fitting_model
from silmm.engine.component_options import FIELD_OF_KIND, KIND_ALIASES, REGISTERED_AS
from silmm.engine.settings import NO_BENCHMARK, RunSettings
from silmm.errors import DataError, UsageError
from silmm.registry.component_path import split_path
from silmm.storage.sha256_cache import Announce
from silmm.suggestions import did_you_mean, listed

if TYPE_CHECKING:
    from silmm.registry.registration import Entry
    from silmm.registry.registry import Registry

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BUILT_IN = "silmm"
"""The distribution of the built-in components."""

Layer = dict[tuple[str, str], Given]
"""Values of one source by (kind, option); kind "" holds the settings themselves."""


def resolve_settings(
    registry: Registry,
    toml_path: Path | None = None,
    flags: Mapping[str, object] | None = None,
    sets: Sequence[str] | Mapping[str, object] = (),
    announce: Announce = lambda _: None,
) -> RunSettings:
    """Merge all sources: option defaults < the model's presets < TOML < flags and ``--set``.

    Where no source names the model, it is :func:`silmm.engine.capabilities.fitting_model`. A kernel among
    the model's presets falls away with a trainer that takes none.

    Args:
        registry: Names of components, their option classes and the models' presets.
        toml_path: File of ``--config``.
        flags: Settings by field name; None means not given. The models may be NAME:PATH.
        sets: Texts ``kind.option=value``, of which later ones win, or a mapping of ``kind.option`` to the value;
            they win over flags.
        announce: Told when a checkpoint has to be read as a whole, to know what it is.

    Raises:
        UsageError: An unknown key or name, a value that is not accepted, or no model fits the
            components that are named.
        PluginError: A component is ambiguous or may belong to a broken plugin.
        DataError: A file or a checkpoint cannot be read.
    """
    user = _read_toml(toml_path) if toml_path is not None else {}
    layer = _from_flags(flags or {}) | _from_sets(sets)
    user |= _paths_apart(registry, layer)
    _check_kinds(user)
    own = _of_kind(user, "")
    model = _model(registry, own)
    model_entry = registry.entry("model", model)
    preset = _from_model(model_entry)
    values = complete(RunSettings, "settings", _of_kind(preset, "") | own) | {"model": model}
    if "kernel" not in own and "kernel" not in registry.entry("trainer", values["trainer"]).needs:
        values["kernel"] = None
    values["options"] = _component_options(registry, values, user, model_entry, preset)
    settings = RunSettings.model_validate(values)
    settings.bind_inputs(registry)
    settings.identity(announce)  # reads files and checkpoints, so a missing one fails here
    return settings


def _model(registry: Registry, own: Mapping[str, Given]) -> str:
    """Return the model that the user names, or the one that fits the other components."""
    draft = RunSettings.model_validate(complete(RunSettings, "settings", own))
    named = [kind for kind, field in FIELD_OF_KIND.items() if field in own]
    return draft.model if "model" in named else fitting_model(registry, draft, named)


def _read_toml(path: Path) -> Layer:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"cannot read the settings file {str(path)!r}: {error.strerror}; check --config"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from None
    layer: Layer = {}
    for key, value in data.items():
        if isinstance(value, dict):
            layer |= _from_table(path, KIND_ALIASES.get(key, key), value)
        else:
            layer["", key.replace("-", "_")] = Given(value, str(path))
    return layer


def _from_table(path: Path, kind: str, table: Mapping[str, object]) -> Layer:
    """Read ``[sampler]``; its key ``name`` picks the component."""
    layer: Layer = {}
    for key, value in table.items():
        target = ("", FIELD_OF_KIND.get(kind, kind)) if key == NAME_KEY else (kind, key)
        layer[target] = Given(value, f"{path} [{kind}]")
    return layer


def _from_flags(flags: Mapping[str, object]) -> Layer:
    return {
        ("", name.replace("-", "_")): Given(value, f"--{name.replace('_', '-')}", text=True)
        for name, value in flags.items()
        if value is not None
    }


def _from_sets(sets: Sequence[str] | Mapping[str, object]) -> Layer:
    layer: Layer = {}
    if isinstance(sets, Mapping):
        for key, value in sets.items():
            kind, _, field = key.rpartition(".")
            layer[KIND_ALIASES.get(kind, kind), field] = Given(value, f"sets[{key!r}]")
        return layer
    for text in sets:
        kind, field, value = split_assignment(text)
        layer[KIND_ALIASES.get(kind, kind), field] = Given(value, f"--set {text}", text=True)
    return layer


def _paths_apart(registry: Registry, layer: Layer) -> Layer:
    """Return the layer with the PATH of a model's NAME:PATH as the model's option."""
    layer = dict(layer)
    for kind in ("model", "judge_model"):
        entry = layer.get(("", kind))
        if entry is None:
            continue
        name, options = split_path(registry, str(entry.value), flag=entry.source)
        layer["", kind] = replace(entry, value=name)
        for option, path in options.items():
            twice = layer.get((kind, option))
            if twice is not None:
                raise UsageError(f"{entry.source} {entry.value} and {twice.source} both give the path; leave one out")
            layer[kind, option] = replace(entry, value=path)
    return layer


def _from_model(model: Entry) -> Layer:
    """Read a model's presets: settings, and ``KIND/NAME.OPTION`` as options of kind ``KIND/NAME``."""
    source = f"defaults of model {model.name!r}"
    layer: Layer = {}
    for key, value in model.defaults.items():
        component, _, option = key.rpartition(".")
        kind, slash, name = component.partition("/")
        if component and not (slash and name):
            raise UsageError(
                f"the {source} hold {key!r}; name the component that the preset was tuned for: {kind}/NAME.{option}"
            )
        kind = KIND_ALIASES.get(kind, kind)
        _check_kinds({(kind, option): Given(value, source)})
        layer[f"{kind}/{name}" if component else "", option] = Given(value, source)
    return layer


def _check_kinds(layer: Layer) -> None:
    """Refuse option tables of unknown kinds and attempts to set `options` as a whole."""
    fields = [name for name in RunSettings.model_fields if name != "options"]
    for (kind, field), entry in layer.items():
        if kind in ("aggregation", "distance"):
            raise UsageError(
                f"options of an aggregation or a distance are options of the kernel: write kernel.{field} "
                f"(given by {entry.source})"
            )
        if kind and kind not in FIELD_OF_KIND:
            raise UsageError(
                f"there is no kind of component {kind!r} (given by {entry.source})"
                f"{did_you_mean(kind, FIELD_OF_KIND)} Kinds: {listed(FIELD_OF_KIND)}."
            )
        if not kind and field not in fields:
            raise UsageError(
                f"there is no setting {field!r} (given by {entry.source})"
                f"{did_you_mean(field, fields)} Settings: {listed(fields)}."
            )


def _of_kind(layer: Layer, kind: str) -> dict[str, Given]:
    return {field: entry for (layer_kind, field), entry in layer.items() if layer_kind == kind}


def _component_options(
    registry: Registry, values: Mapping[str, Any], user: Layer, model: Entry, preset: Layer
) -> dict[str, dict[str, Any]]:
    """Return the complete options of every chosen component by kind."""
    chosen: dict[str, dict[str, Any]] = {}
    for kind, field in FIELD_OF_KIND.items():
        name, entries = values[field], _of_kind(user, kind)
        if name is None or (kind == "benchmark" and name == NO_BENCHMARK):
            if entries:
                source = next(iter(entries.values())).source
                flag = field.replace("_", "-")
                raise UsageError(f"{source} sets a {kind} option, but no --{flag} is chosen")
            continue
        entry = registry.entry(REGISTERED_AS.get(kind, kind), name)
        presets = _presets_of(preset, kind, entry, model)
        chosen[kind] = complete(entry.options, f"{kind} {name!r}", presets | entries)
    return chosen


def _presets_of(preset: Layer, kind: str, entry: Entry, model: Entry) -> dict[str, Given]:
    """Return a model's presets for one component.

    A bare NAME is a component of silmm or of the model's own distribution; for any other, NAME holds the
    distribution too. A component that only shares a name, or an option's name, gets nothing.
    """
    familiar = entry.distribution in (BUILT_IN, model.distribution)
    bare = _of_kind(preset, f"{kind}/{entry.name}") if familiar else {}
    return bare | _of_kind(preset, f"{kind}/{entry.qualified}")
