"""What a checkpoint says of itself, and whether it works: base models sample and train, judges look.

`silmm probe` shows it. With real weights it settles what a plugin's author could not see, and a bug report
should hold it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from silmm.contracts.options import Given, complete, split_assignment
from silmm.errors import UsageError
from silmm.probe.base_model import PROMPTS, Probed, probe_model
from silmm.probe.environment import environment
from silmm.probe.findings import Finding, Probe, Step, peak_memory
from silmm.probe.judge import Prober, probe_judge
from silmm.suggestions import did_you_mean, listed

if TYPE_CHECKING:
    from silmm.registry.registry import Registry

__all__ = [
    "KINDS", "PROMPTS", "Finding", "Kind", "Probe", "Probed", "Prober", "Step", "component_options",
    "kind_of", "probe",
]

Kind = Literal["model", "judge"]
KINDS: tuple[Kind, ...] = ("model", "judge")
"""What can be probed."""


def kind_of(registry: Registry, name: str, given: Kind | None = None) -> Kind:
    """Return whether a name is that of a base model or of a judge.

    Args:
        registry: where components are found.
        name: its name, or ``distribution/name``.
        given: the kind that the user says; it decides.

    Raises:
        UsageError: nothing has the name, or both kinds have it.
        PluginError: nothing has it, and a broken plugin may hold it.
    """
    if given is not None:
        return given
    known = {kind: registry.entries(kind) for kind in KINDS}
    found = [
        kind for kind, entries in known.items() if any(name in (one.name, one.qualified) for one in entries)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{name!r} is a base model and a judge; say which with --kind model or --kind judge")
    if registry.broken:
        registry.entry("model", name)  # shows why plugins are broken
    names = {kind: [one.name for one in entries] for kind, entries in known.items()}
    raise UsageError(
        f"there is no base model or judge {name!r}{did_you_mean(name, [*names['model'], *names['judge']])} "
        f"Base models: {listed(names['model'])}. Judges: {listed(names['judge'])}."
    )


def component_options(registry: Registry, kind: Kind, name: str, sets: Sequence[str]) -> dict[str, Any]:
    """Return all options of a model or judge, with those of texts ``KIND.OPTION=VALUE``.

    Raises:
        UsageError: the text is of another kind, an unknown option, or a value that is not accepted.
    """
    given: dict[str, Given] = {}
    for text in sets:
        word, option, value = split_assignment(text)
        if word != kind:
            raise UsageError(f"--set {text}: a probe takes options of the {kind} only, as {kind}.device=cpu")
        given[option] = Given(value, f"--set {text}", text=True)
    return complete(registry.entry(kind, name).options, f"{kind} {name!r}", given)


def probe(
    registry: Registry,
    name: str,
    options: Mapping[str, Any],
    texts: Sequence[str] = (),
    images: Sequence[Path] = (),
    kind: Kind | None = None,
) -> Probe:
    """Load a component and put it to work.

    Args:
        registry: where it is found.
        name: its name.
        options: its options, complete.
        texts: two prompts that a base model can read, or what a judge is asked about images; empty: such
            as are known to work.
        images: files that a judge is to look at beside its own; a base model takes none.
        kind: of the component; None: the name tells.

    Raises:
        UsageError: there is no such component, or texts or images that it does not take.
        SilmmError: a base model does not load; the message is the plugin's own. A judge that does not load
            is a finding.
    """
    kind = kind_of(registry, name, kind)
    entry = registry.entry(kind, name)
    build = partial(registry.build, kind, entry.qualified, options)
    found = Probe(kind, entry.qualified, options)
    if kind == "model":
        if images:
            raise UsageError("a base model looks at the images that it samples; leave --image out")
        probe_model(entry, build, found, texts or PROMPTS)
    else:
        found.facts |= environment(entry)
        probe_judge(entry, options, build, found, images, texts)
    found.facts["peak memory, MB"] = peak_memory()
    return found
