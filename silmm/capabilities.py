"""Checks that the chosen components can work together, before any model is loaded."""

from __future__ import annotations

from silmm.errors import UsageError
from silmm.registry import Entry, Registry
from silmm.settings import FIELD_OF_KIND, RunSettings
from silmm.suggestions import listed

_MEET_MODEL = tuple(kind for kind in FIELD_OF_KIND if kind != "model")
_SKIPPED_WITH_OWN_PAIRS = frozenset({"prompter", "sampler", "questioner", "scorer", "pairs"})
"""Kinds that have no work when the user brings pairs."""


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
    missing = sorted(entry.requires - model.capabilities)
    if missing:
        return f"it needs {', '.join(missing)}, which {model.name!r} does not declare"
    return ""


def _check_model(registry: Registry, entry: Entry, model: Entry) -> None:
    reason = mismatch(entry, model)
    if not reason:
        return
    others = listed(e.name for e in registry.entries(entry.kind) if not mismatch(e, model))
    models = listed(m.name for m in registry.entries("model") if not mismatch(entry, m))
    flag = FIELD_OF_KIND[entry.kind].replace("_", "-")
    raise UsageError(
        f"--{flag} {entry.name} cannot work with --model {model.name}: {reason}. "
        f"With {model.name!r} these work as {flag}: {others}. "
        f"With {entry.name!r} these work as model: {models}."
    )


def _check_kernel(registry: Registry, settings: RunSettings, model: Entry) -> None:
    if settings.kernel is None:
        return
    trainer = registry.entry("trainer", settings.trainer)
    if "kernel" in trainer.accepts:
        return
    others = listed(
        e.name
        for e in registry.entries("trainer")
        if "kernel" in e.accepts and not mismatch(e, model)
    )
    raise UsageError(
        f"--kernel {settings.kernel} cannot work with --trainer {trainer.name}, which takes no "
        f"kernel. Trainers that take one and work with {model.name!r}: {others}. "
        "Or leave --kernel out."
    )
