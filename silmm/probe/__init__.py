"""Probes: what a checkpoint contains, and whether it works; base models sample and train, judges answer.

`silmm probe` prints the findings. With real weights they settle what a plugin's author could not see, and a bug report
should include them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from silmm.contracts.options import Given, complete, split_assignment
from silmm.errors import UsageError
from silmm.probe.findings import Finding, Probe, Step, environment, peak_memory
from silmm.probe.judge_probe import Prober, probe_judge
from silmm.probe.model_probe import PROMPTS, Probed, probe_model
from silmm.suggestions import did_you_mean, listed

if TYPE_CHECKING:
    from silmm.registry.registry import Registry

__all__ = [
    "KINDS", "PROMPTS", "Finding", "Kind", "Probe", "Probed", "Prober", "Step", "component_options",
    "kind_of", "probe",
]

Kind = Literal["model", "judge"]
KINDS: tuple[Kind, ...] = ("model", "judge")
"""Kinds of component that can be probed."""


def kind_of(registry: Registry, name: str, kind: Kind | None = None) -> Kind:
    """Return whether a name is that of a base model or of a judge.

    Args:
        registry: where components are found.
        name: its name, or ``distribution/name``.
        kind: the kind that the user names; it decides.

    Raises:
        UsageError: nothing has the name, or both kinds have it.
        PluginError: nothing has it, and a broken plugin may hold it.
    """
    if kind is not None:
        return kind
    registered = {kind: registry.entries(kind) for kind in KINDS}
    matching = [
        kind for kind, entries in registered.items()
        if any(name in (entry.name, entry.qualified) for entry in entries)
    ]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise UsageError(f"{name!r} is a base model and a judge; say which with --kind model or --kind judge")
    if registry.broken:
        registry.entry("model", name)  # shows why plugins are broken
    names = {kind: [entry.name for entry in entries] for kind, entries in registered.items()}
    raise UsageError(
        f"there is no base model or judge {name!r}{did_you_mean(name, [*names['model'], *names['judge']])} "
        f"Base models: {listed(names['model'])}. Judges: {listed(names['judge'])}."
    )


def component_options(registry: Registry, kind: Kind, name: str, sets: Sequence[str]) -> dict[str, Any]:
    """Return all options of a model or judge, those of texts ``KIND.OPTION=VALUE`` included.

    Raises:
        UsageError: a text is about another kind, an unknown option, or a value that is not accepted.
    """
    options: dict[str, Given] = {}
    for text in sets:
        word, option, value = split_assignment(text)
        if word != kind:
            raise UsageError(f"--set {text}: a probe takes options of the {kind} only, as {kind}.device=cpu")
        options[option] = Given(value, f"--set {text}", text=True)
    return complete(registry.entry(kind, name).options, f"{kind} {name!r}", options)


def probe(
    registry: Registry,
    name: str,
    options: Mapping[str, Any],
    texts: Sequence[str] = (),
    images: Sequence[Path] = (),
    kind: Kind | None = None,
) -> Probe:
    """Load a component and use it.

    Args:
        registry: where the component is registered.
        name: its name.
        options: its options, complete.
        texts: two prompts that a base model can read, or what a judge is asked about images; empty: the plugin's own.
        images: files about which a judge is asked in addition to its own; a base model takes none.
        kind: of the component; None: the kind that has the name.

    Raises:
        UsageError: there is no such component, or it does not take these texts or images.
        SilmmError: a base model does not load; the message is the plugin's own. A judge that does not load is a
            finding.
    """
    kind = kind_of(registry, name, kind)
    entry = registry.entry(kind, name)
    build = partial(registry.build, kind, entry.qualified, options)
    result = Probe(kind, entry.qualified, options)
    if kind == "model":
        if images:
            raise UsageError("a base model is asked about the images that it samples; leave out --image")
        probe_model(entry, build, result, texts or PROMPTS)
    else:
        result.facts |= environment(entry)
        probe_judge(entry, options, build, result, images, texts)
    result.facts["peak memory, MB"] = peak_memory()
    return result
