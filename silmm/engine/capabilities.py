"""Which components can work together, before any model is loaded: the checks, and the fitting model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from silmm.contracts.models import Capability
from silmm.contracts.options import checkpoint_options
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
_ANSWERED = ("scorer", "pair-rule")
"""Kinds that may need answers, or ask the judge themselves."""
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
    _check_rollout(registry, settings)
    _check_checkpoints(registry, settings)


def asks_questions(registry: Registry, settings: RunSettings) -> bool:
    """Say whether the run asks questions about its candidates: its scorer or its pair rule needs answers."""
    return settings.pairs is None and any(
        "answers" in settings.entry(registry, kind).needs for kind in _ANSWERED
    )


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

    Where a judge model answers, scorer and pair rule ask no answers of the model.
    """
    kinds = [
        kind for kind in _MEET_MODEL
        if settings.component(kind) is not None and kind not in _without_work(registry, settings)
    ]
    entries = [settings.entry(registry, kind) for kind in kinds]
    if settings.judge_model is None:
        return entries
    return [
        replace(entry, requires=entry.requires - {_ANSWERS}) if entry.kind in _ANSWERED else entry
        for entry in entries
    ]


def _check_judge(registry: Registry, settings: RunSettings) -> None:
    """Refuse a judge model that cannot answer, or that nobody asks."""
    if settings.judge_model is None:
        return
    judge = settings.entry(registry, "judge_model")
    if _ANSWERS not in judge.capabilities:
        others = listed(model.name for model in registry.entries("model") if _ANSWERS in model.capabilities)
        raise UsageError(
            f"--judge-model {settings.judge_model} cannot answer: a judge needs {_ANSWERS}, which {judge.name!r} "
            f"does not declare. Models that do: {others}. Or leave --judge-model out: the model itself answers."
        )
    if settings.pairs is None and not any(_ANSWERS in settings.entry(registry, k).requires for k in _ANSWERED):
        asking = listed(scorer.name for scorer in registry.entries("scorer") if _ANSWERS in scorer.requires)
        raise UsageError(
            f"--judge-model {settings.judge_model} has no work: --scorer {settings.scorer} and --pair-rule "
            f"{settings.pair_rule} ask nothing. Leave it out, or take a scorer that asks: {asking}."
        )


def _check_rollout(registry: Registry, settings: RunSettings) -> None:
    """Refuse a trainer that needs rollouts where there are no prompts and questions to roll out."""
    trainer = registry.entry("trainer", settings.trainer)
    if settings.pairs is None or "rollout" not in trainer.needs:
        return
    others = listed(entry.name for entry in registry.entries("trainer") if "rollout" not in entry.needs)
    raise UsageError(
        f"--trainer {trainer.name} cannot work with --pairs: it learns from candidates that it samples as it goes, "
        f"of the run's own prompts. Leave --pairs out, or take a trainer that learns from pairs alone: {others}."
    )


def _check_checkpoints(registry: Registry, settings: RunSettings) -> None:
    """Refuse a component that is to be built from a checkpoint and was given none."""
    for kind in settings.options:
        entry = settings.entry(registry, kind)
        for name, mark in checkpoint_options(entry.options).items():
            if mark.required and not settings.options[kind][name]:
                raise UsageError(
                    f"the {kind} {entry.name!r} needs a {name}: give a folder or a hub id with --set {kind}.{name}=…"
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


def _without_work(registry: Registry, settings: RunSettings) -> frozenset[str]:
    if settings.pairs is not None:
        return _SKIPPED_WITH_OWN_PAIRS
    idle = {"prompter"} if isinstance(settings.prompts, str) else set()
    return frozenset(idle if asks_questions(registry, settings) else {*idle, "questioner"})


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
    if "kernel" in trainer.needs:
        return
    others = listed(
        e.name
        for e in registry.entries("trainer")
        if "kernel" in e.needs and not (model and mismatch(e, model))
    )
    fit = f" and work with {model.name!r}" if model else ""
    raise UsageError(
        f"--kernel {settings.kernel} cannot work with --trainer {trainer.name}, which takes no "
        f"kernel. Trainers that take one{fit}: {others}. "
        "Or leave --kernel out."
    )
