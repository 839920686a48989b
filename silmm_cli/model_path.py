"""`--model NAME:PATH`: the path becomes the model's option `path`, as ``--set model.path=PATH`` would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from silmm.errors import UsageError
from silmm.suggestions import listed

if TYPE_CHECKING:
    from silmm.registry import Registry

OPTION = "path"
"""The option of a base model that PATH fills: a folder, or an id of a hub."""


def split_model(
    registry: Registry, model: str, sets: Sequence[str]
) -> tuple[str, tuple[str, ...]]:
    """Return the model's name and the texts of `--set`, with the path among them.

    Only the first colon counts: a path may hold more.

    Raises:
        UsageError: the path is empty or given twice, there is no such model, or it takes no path.
        PluginError: as :meth:`silmm.registry.Registry.entry`.
    """
    if ":" not in model:
        return model, tuple(sets)
    name, _, path = model.partition(":")
    entry = registry.entry("model", name)
    if OPTION not in entry.options.model_fields:
        takers = [one.name for one in registry.entries("model") if OPTION in one.options.model_fields]
        raise UsageError(
            f"--model {model}: the model {name!r} has no option {OPTION!r}: it brings its own files. Write "
            f"--model {name}. Models that take a path: {listed(takers) if takers else 'none is installed'}."
        )
    if not path:
        raise UsageError(f"--model {model} ends with its colon; write --model {name}:DIR")
    twice = [text for text in sets if text.partition("=")[0].strip() == f"model.{OPTION}"]
    if twice:
        raise UsageError(f"--model {model} and --set {twice[0]} both give the path; leave one out")
    return name, (f"model.{OPTION}={path}", *sets)
