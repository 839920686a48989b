"""NAME:PATH of a model or a judge: the path becomes one of its options, as ``--set model.path=PATH`` would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from silmm.errors import UsageError
from silmm.suggestions import listed

if TYPE_CHECKING:
    from silmm.registry.registry import Registry

PATH_OPTIONS: Mapping[str, Sequence[str]] = {"model": ("path",), "judge": ("weights", "folder", "path", "model")}
"""Kind to the option that PATH fills: the first of these that the component has."""


def split_path(registry: Registry, component: str, kind: str = "model", flag: str = "") -> tuple[str, dict[str, str]]:
    """Split NAME or NAME:PATH into the component's name and the option that holds the path, if there is one.

    Only the first colon counts: a path may hold more.

    Args:
        registry: where the component is registered.
        component: NAME or NAME:PATH; NAME may be ``distribution/name``.
        kind: "model" or "judge".
        flag: how a message calls the component, for example ``--model``.

    Raises:
        UsageError: the path is empty, there is no such component, or it takes no path.
        PluginError: as :meth:`silmm.registry.registry.Registry.entry`.
    """
    name, colon, path = component.partition(":")
    if not colon:
        return component, {}
    start = f"{flag} " if flag else ""
    fields = registry.entry(kind, name).options.model_fields
    option = next((option for option in PATH_OPTIONS[kind] if option in fields), None)
    if option is None:
        takers = [
            entry.name for entry in registry.entries(kind) if set(PATH_OPTIONS[kind]) & set(entry.options.model_fields)
        ]
        raise UsageError(
            f"{start}{component}: the {kind} {name!r} takes no path, because it needs no files of yours. Write "
            f"{start}{name}. Those that take a path: {listed(takers) if takers else 'none is installed'}."
        )
    if not path:
        raise UsageError(f"{start}{component} ends with its colon; write {start}{name}:PATH")
    return name, {option: path}


def split_component(
    registry: Registry, component: str, sets: Sequence[str], kind: str = "model"
) -> tuple[str, tuple[str, ...]]:
    """Return the component's name and the texts of `--set`, with the path among them.

    Args:
        registry: where the component is registered.
        component: NAME or NAME:PATH.
        sets: texts of `--set` that were given already.
        kind: whose option the path is: "model", "judge", or "judge_model" for the model that answers.

    Raises:
        UsageError: as :func:`split_path`, or the path is given twice.
        PluginError: as :meth:`silmm.registry.registry.Registry.entry`.
    """
    flag = "" if kind == "judge" else f"--{kind.replace('_', '-')}"
    name, options = split_path(registry, component, "judge" if kind == "judge" else "model", flag)
    for option in options:
        spellings = (f"{kind}.{option}", f"{kind.replace('_', '-')}.{option}")
        twice = [text for text in sets if text.partition("=")[0].strip() in spellings]
        if twice:
            raise UsageError(f"{flag} {component} and --set {twice[0]} both give the path; leave one out".lstrip())
    return name, (*(f"{kind}.{option}={path}" for option, path in options.items()), *sets)
