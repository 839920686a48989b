"""Resolves rows to the settings of runs: what a row changes, why its model cannot run it, the name of its run."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from silmm.contracts.options import canonical, split_assignment
from silmm.engine import capabilities
from silmm.engine.component_options import FIELD_OF_KIND, KIND_ALIASES
from silmm.engine.settings import RunSettings
from silmm.engine.settings_resolution import resolve_settings
from silmm.errors import PluginError, UsageError
from silmm.registry.registry import Registry
from silmm.reproduce.experiment import METHOD, Experiment, ModelKind, Row, Value
from silmm.storage.sha256_cache import Announce
from silmm.suggestions import listed

EMBEDDED: Mapping[ModelKind, str] = {"discrete": "tiny-discrete", "continuous": "tiny-continuous"}
"""The base model of each kind where the user names none."""
QUICK: Mapping[str, Value] = {
    "prompts": 128, "images_per_prompt": 16, "trainer.max_steps": 48, "trainer.warmup_steps": 5,
    "benchmark.images": 2, "benchmark.images_at_temperature_1": 0, "benchmark.questions": 0,
}
"""Settings of `--quick`, where there is such an option; with 16 candidates Table 7's ranks stay distinct."""

Layer = dict[tuple[str, str], Value]
"""(kind, option) -> value; kind "" holds the settings of the run itself."""


@dataclass(frozen=True)
class Request:
    """What the user requests for every row."""

    model: str | None = None
    benchmark: str = "shapes"
    prompts: str | None = None
    sets: tuple[str, ...] = ()
    """Texts `kind.option=value`; a row's own settings take precedence."""
    seeds: int = 1
    quick: bool = False


@dataclass(frozen=True)
class Plan:
    """The resolution of one row: settings per seed, or the reason why it is not possible."""

    row: Row
    model: str
    changes: Mapping[str, str] = field(default_factory=dict)
    """The row's own settings with their values here, by their names on the command line."""
    settings: tuple[RunSettings, ...] = ()
    """One per seed; empty where the row is not possible."""
    runs: tuple[str, ...] = ()
    """The name of each run's directory."""
    reason: str = ""
    failed: bool = False
    """Whether the reason is an error of the run itself; the same command tries it again."""
    left_out: tuple[str, ...] = ()
    """Texts of `--set` that no component of this row has an option for."""


def plan_rows(
    registry: Registry, experiment: Experiment, request: Request, announce: Announce = lambda _: None
) -> tuple[Plan, ...]:
    """Resolve every row; one that the model cannot do carries the reason.

    `announce` is called when a checkpoint has to be read as a whole.

    Raises:
        UsageError: no row is possible, or a `--set` fits no row.
    """
    if request.seeds < 1:
        raise UsageError(f"--seeds {request.seeds}: at least 1 is needed")
    plans = tuple(_plan(registry, experiment, row, request, announce) for row in experiment.rows)
    if not any(plan.settings for plan in plans):
        rows_by_reason: dict[tuple[str, str], list[str]] = {}
        for plan in plans:
            rows_by_reason.setdefault((plan.model, plan.reason), []).append(plan.row.name)
        reasons = "\n".join(
            f"  {', '.join(rows)} with {model}: {reason}" for (model, reason), rows in rows_by_reason.items()
        )
        raise UsageError(f"no row of {experiment.name} is possible:\n{reasons}")
    for (kind, option), value in _from_texts(request.sets).items():
        if all(f"{kind}.{option}={value}" in plan.left_out for plan in plans if plan.settings):
            raise UsageError(
                f"--set {kind}.{option}={value}: no component of any row of {experiment.name} has this "
                "option; `silmm plugins show KIND NAME` lists the options"
            )
    return plans


def _plan(
    registry: Registry, experiment: Experiment, row: Row, request: Request, announce: Announce
) -> Plan:
    model = request.model or EMBEDDED[row.kind or experiment.kind]
    try:
        kind = registry.entry("model", model).model_kind
        if kind is None or kind != (row.kind or kind):
            raise UsageError(f"the row needs a {row.kind} model and {model!r} is {kind}")
        layers = _layers(experiment, row, request, model, kind)
        changes, settings, left_out = _resolve(registry, row, layers, announce)
        per_seed = [settings] if request.seeds == 1 else [
            _resolve(registry, row, {**layers, "seed": {("", "seed"): settings.seed + number}}, announce)[1]
            for number in range(request.seeds)
        ]
        capabilities.check(registry, settings)
    except (UsageError, PluginError) as error:
        return Plan(row, model, reason=str(error))
    runs = tuple(_run_name(registry, row, settings) for settings in per_seed)
    return Plan(row, model, changes, tuple(per_seed), runs, left_out=left_out)


def _layers(
    experiment: Experiment, row: Row, request: Request, model: str, kind: ModelKind
) -> dict[str, Layer]:
    """Return all sources of settings, the weakest first."""
    user = _from_texts(request.sets)
    user |= {("", "model"): model, ("", "benchmark"): request.benchmark}
    if request.prompts is not None:
        user["", "prompts"] = request.prompts
    return {
        "method": _from_names(METHOD[kind]),
        "base": _from_names(experiment.base),
        "quick": _from_names(QUICK if request.quick else {}),
        "user": user,
        "row": _from_names(row.settings),
    }


def _from_names(settings: Mapping[str, Value]) -> Layer:
    return {_split(name): value for name, value in settings.items()}


def _from_texts(texts: Sequence[str]) -> Layer:
    layer: Layer = {}
    for text in texts:
        kind, option, value = split_assignment(text)
        layer[KIND_ALIASES.get(kind, kind), option] = value
    return layer


def _split(name: str) -> tuple[str, str]:
    kind, _, option = name.rpartition(".")
    return kind, option


def _resolve(
    registry: Registry, row: Row, layers: Mapping[str, Layer], announce: Announce
) -> tuple[dict[str, str], RunSettings, tuple[str, ...]]:
    """Return the row's changes, its settings and the `--set` texts that it has no option for."""
    merged: Layer = {}
    plain: Layer = {}
    for layer in layers.values():
        merged |= layer
        plain |= {key: value for key, value in layer.items() if isinstance(value, str | int | float)}
    # Options and shares depend on the components and on the numbers of images and prompts, so those come first.
    first = resolve_settings(registry, flags=_flags(plain))
    images, prompts = first.images_per_prompt, first.prompts
    values = {
        key: value if isinstance(value, str | int | float) else value.at(images, prompts)
        for key, value in merged.items()
    }
    lacking = [key for key in values if key[0] and not _has(registry, first, key)]
    _refuse_unknown_row(row, lacking, first)
    accepted = {key: value for key, value in values.items() if key not in lacking}
    settings = resolve_settings(
        registry, flags=_flags(accepted),
        sets=[f"{kind}.{option}={value}" for (kind, option), value in accepted.items() if kind],
        announce=announce,
    )
    left_out = tuple(
        f"{kind}.{option}={value}" for (kind, option), value in layers["user"].items()
        if (kind, option) in lacking
    )
    changes = {name: str(values[_split(name)]) for name in row.settings}
    return changes, settings, left_out


def _flags(layer: Mapping[tuple[str, str], Value]) -> dict[str, object]:
    return {option: value for (kind, option), value in layer.items() if not kind}


def _has(registry: Registry, settings: RunSettings, key: tuple[str, str]) -> bool:
    kind, option = key
    if kind not in FIELD_OF_KIND:
        return True  # resolve_settings raises the error that names the kinds
    if settings.component(kind) is None:
        return False
    return option in settings.entry(registry, kind).options.model_fields


def _refuse_unknown_row(row: Row, lacking: Sequence[tuple[str, str]], settings: RunSettings) -> None:
    """Refuse a row whose own setting no component takes: it would be another row's run."""
    for name in row.settings:
        kind, option = _split(name)
        if (kind, option) in lacking:
            raise UsageError(f"the {kind} {settings.component(kind)!r} has no option {option!r}")


def _run_name(registry: Registry, row: Row, settings: RunSettings) -> str:
    """Name a run after its row and everything that decides its result: other settings give another directory."""
    sources = {
        kind: [entry.distribution, entry.version, entry.revision]
        for kind in settings.options
        for entry in [settings.entry(registry, kind)]
    }
    text = canonical({"settings": settings.identity(), "sources": sources})
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    slug = re.sub(r"[^a-z0-9]+", "-", row.name.lower()).strip("-") or "row"
    return f"{slug}-seed{settings.seed}-{digest}"


def first_sentence(reason: str) -> str:
    """Return the start of a reason, for a narrow cell of a table."""
    return reason.splitlines()[0].split(". ")[0].rstrip(".")


def describe_left_out(plans: Sequence[Plan]) -> list[str]:
    """Say which `--set` was left out in which rows."""
    texts = dict.fromkeys(text for plan in plans for text in plan.left_out)
    return [
        f"--set {text}: no component of these rows has this option, so they run without it: "
        + listed(plan.row.name for plan in plans if text in plan.left_out)
        for text in texts
    ]
