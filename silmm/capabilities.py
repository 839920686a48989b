"""Which components can work together, before any model is loaded: the checks, and the fitting model."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from silmm.errors import UsageError
from silmm.interfaces import Capability
from silmm.registration import ModelKind
from silmm.registry import Entry, Registry
from silmm.settings import FIELD_OF_KIND, RunSettings
from silmm.suggestions import listed

_MEET_MODEL = tuple(kind for kind in FIELD_OF_KIND if kind != "model")
_SKIPPED_WITH_OWN_PAIRS = frozenset({"prompter", "sampler", "questioner", "scorer", "pairs"})
"""Kinds that have no work when the user brings pairs."""
_TRAINED_BY: Mapping[ModelKind, Capability] = {"discrete": "log_likelihood", "continuous": "features"}


def check(registry: Registry, settings: RunSettings) -> None:
    """Check every chosen component against the model's declared kind and capabilities.

    Raises:
        UsageError: A combination cannot work; the message names what would.
        PluginError: A component is ambiguous or may belong to a broken plugin.
    """
    model = registry.entry("model", settings.model)
    for kind in _MEET_MODEL:
        name = settings.component(kind)
        if name is not None and kind not in _without_work(settings):
            _check_model(registry, registry.entry(kind, name), model)
    _check_kernel(registry, settings, model)


def fitting_model(registry: Registry, settings: RunSettings, named: Collection[str]) -> str:
    """Return the model of a user who names none: the default, or the first that fits what is named.

    Models of the default's own distribution come before others, of these such as need no checkpoint (no
    option `path`), each by name.

    Args:
        registry: All components.
        settings: What the user gave, and the defaults of the rest.
        named: The kinds whose component the user named. Those that have no work do not count.

    Raises:
        UsageError: No model works with all of them, or the named trainer takes no kernel.
        PluginError: As :func:`check`.
    """
    default = registry.entry("model", settings.model)
    if "trainer" in named:
        _check_kernel(registry, settings, None)
    asked = []
    for kind in _MEET_MODEL:
        name = settings.component(kind)
        if kind in named and name is not None and kind not in _without_work(settings):
            asked.append(registry.entry(kind, name))
    if not _misfits(asked, default):
        return settings.model
    fitting = [model for model in registry.entries("model") if not _misfits(asked, model)]
    if not fitting:
        raise UsageError(_no_model(registry, asked))
    best = min(
        fitting,
        key=lambda model: (
            model.distribution != default.distribution, "path" in model.options.model_fields, model.name
        ),
    )
    alone = sum(model.name == best.name for model in registry.entries("model")) == 1
    return best.name if alone else best.qualified


def _misfits(asked: Collection[Entry], model: Entry) -> bool:
    return any(mismatch(entry, model) for entry in asked)


def _no_model(registry: Registry, asked: Collection[Entry]) -> str:
    lines = []
    for entry in asked:
        models = [model.name for model in registry.entries("model") if not mismatch(entry, model)]
        needs = f" with {', '.join(sorted(entry.requires))}" if entry.requires else ""
        lines.append(
            f"--{_flag(entry.kind)} {entry.name} needs a {' or '.join(entry.kinds)} model{needs} "
            f"(installed: {listed(models)})."
        )
    together = "all of these together" if len(asked) > 1 else "this"
    return (
        f"no installed model works with {together}. {' '.join(lines)} Leave one out or take another; "
        "`silmm plugins show KIND NAME` tells what each needs."
    )


def _flag(kind: str) -> str:
    return FIELD_OF_KIND[kind].replace("_", "-")


def _without_work(settings: RunSettings) -> frozenset[str]:
    if settings.pairs is not None:
        return _SKIPPED_WITH_OWN_PAIRS
    return frozenset({"prompter"} if isinstance(settings.prompts, str) else ())


def mismatch(entry: Entry, model: Entry) -> str:
    """Say why a component cannot work with a model, or return an empty string."""
    if model.model_kind not in entry.kinds:
        return (
            f"it works with {' and '.join(entry.kinds)} models and {model.name!r} is "
            f"{model.model_kind}"
        )
    missing = sorted(_needed(entry, model) - model.capabilities)
    if missing:
        return f"it needs {', '.join(missing)}, which {model.name!r} does not declare"
    return ""


def _needed(entry: Entry, model: Entry) -> frozenset[str]:
    """Return what a component needs of a model; of the two ways to train, if it names both, the one."""
    ways = frozenset(_TRAINED_BY.values())
    if model.model_kind is None or not ways <= entry.requires:
        return entry.requires
    return entry.requires - ways | {_TRAINED_BY[model.model_kind]}


def _check_model(registry: Registry, entry: Entry, model: Entry) -> None:
    reason = mismatch(entry, model)
    if not reason:
        return
    others = listed(e.name for e in registry.entries(entry.kind) if not mismatch(e, model))
    models = listed(m.name for m in registry.entries("model") if not mismatch(entry, m))
    flag = _flag(entry.kind)
    raise UsageError(
        f"--{flag} {entry.name} cannot work with --model {model.name}: {reason}. "
        f"With {model.name!r} these work as {flag}: {others}. "
        f"With {entry.name!r} these work as model: {models}."
    )


def _check_kernel(registry: Registry, settings: RunSettings, model: Entry | None) -> None:
    """Refuse a kernel for a trainer that takes none; with no model yet, any trainer is proposed."""
    if settings.kernel is None:
        return
    trainer = registry.entry("trainer", settings.trainer)
    if "kernel" in trainer.accepts:
        return
    others = listed(
        e.name
        for e in registry.entries("trainer")
        if "kernel" in e.accepts and not (model and mismatch(e, model))
    )
    fit = f" and work with {model.name!r}" if model else ""
    raise UsageError(
        f"--kernel {settings.kernel} cannot work with --trainer {trainer.name}, which takes no "
        f"kernel. Trainers that take one{fit}: {others}. "
        "Or leave --kernel out."
    )
