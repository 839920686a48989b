"""Which components can work together, before any model is loaded: the checks, and the fitting model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from silmm.contracts.models import Capability
from silmm.contracts.registration import ModelKind
from silmm.engine.component_options import FIELD_OF_KIND
from silmm.engine.settings import RunSettings
from silmm.errors import UsageError
from silmm.registry.registry import Entry, Registry
from silmm.suggestions import listed

_MEET_MODEL = tuple(kind for kind in FIELD_OF_KIND if kind not in ("model", "judge_model"))
_SKIPPED_WITH_OWN_PAIRS = frozenset({"prompter", "sampler", "questioner", "scorer", "pair-rule"})
"""Kinds that have no work when the user brings pairs."""
_ANSWERS: Capability = "yes_no"
"""What a judge model does in place of the model itself."""
_TRAINED_BY: Mapping[ModelKind, Capability] = {"discrete": "log_likelihood", "continuous": "features"}


def check(registry: Registry, settings: RunSettings) -> None:
    """Check every chosen component against the model's declared kind and capabilities.

    Raises:
        UsageError: A combination cannot work; the message names what would.
        PluginError: A component is ambiguous or may belong to a broken plugin.
    """
    model = registry.entry("model", settings.model)
    for entry in _meeting(registry, settings):
        _check_model(registry, entry, model)
    _check_kernel(registry, settings, model)
    _check_judge(registry, settings)


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
    asked = [entry for entry in _meeting(registry, settings) if entry.kind in named]
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


def _meeting(registry: Registry, settings: RunSettings) -> list[Entry]:
    """Return the components that have work with the model, each with what it asks of the model.

    Where a judge model answers, the scorer asks no answers of the model.
    """
    kinds = [
        kind for kind in _MEET_MODEL
        if settings.component(kind) is not None and kind not in _without_work(settings)
    ]
    entries = [settings.entry(registry, kind) for kind in kinds]
    if settings.judge_model is None:
        return entries
    return [
        replace(entry, requires=entry.requires - {_ANSWERS}) if entry.kind == "scorer" else entry
        for entry in entries
    ]


def _check_judge(registry: Registry, settings: RunSettings) -> None:
    """Refuse a judge model that does not answer questions about images."""
    if settings.judge_model is None:
        return
    judge = settings.entry(registry, "judge_model")
    if _ANSWERS in judge.capabilities:
        return
    others = listed(one.name for one in registry.entries("model") if _ANSWERS in one.capabilities)
    raise UsageError(
        f"--judge-model {settings.judge_model} cannot answer: a judge needs {_ANSWERS}, which {judge.name!r} "
        f"does not declare. Models that do: {others}. Or leave --judge-model out: the model itself answers."
    )


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
