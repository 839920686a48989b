"""NAME:PATH: the path becomes an option of the model or judge, as ``--set model.path=PATH`` would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from silmm.contracts.judges import PATH_OPTIONS
from silmm.errors import UsageError
from silmm.suggestions import listed

if TYPE_CHECKING:
    from silmm.registry.registry import Registry

OPTION = "path"
"""The option of a base model that PATH fills: a folder, or an id of a hub."""


def split_model(
    registry: Registry, model: str, sets: Sequence[str], kind: str = "model"
) -> tuple[str, tuple[str, ...]]:
    """Return the model's name and the texts of `--set`, with the path among them.

    Only the first colon counts: a path may hold more.

    Args:
        registry: where the model is registered.
        model: NAME or NAME:PATH.
        sets: texts of `--set` that are given already.
        kind: whose option the path is: "model", or "judge_model" for the model that answers.

    Raises:
        UsageError: the path is empty or given twice, there is no such model, or it takes no path.
        PluginError: as :meth:`silmm.registry.registry.Registry.entry`.
    """
    if ":" not in model:
        return model, tuple(sets)
    flag = f"--{kind.replace('_', '-')}"
    name, _, path = model.partition(":")
    entry = registry.entry("model", name)
    if OPTION not in entry.options.model_fields:
        takers = [one.name for one in registry.entries("model") if OPTION in one.options.model_fields]
        raise UsageError(
            f"{flag} {model}: the model {name!r} has no option {OPTION!r}: it brings its own files. Write "
            f"{flag} {name}. Models that take a path: {listed(takers) if takers else 'none is installed'}."
        )
    if not path:
        raise UsageError(f"{flag} {model} ends with its colon; write {flag} {name}:DIR")
    own = (f"{kind}.{OPTION}", f"{kind.replace('_', '-')}.{OPTION}")
    twice = [text for text in sets if text.partition("=")[0].strip() in own]
    if twice:
        raise UsageError(f"{flag} {model} and --set {twice[0]} both give the path; leave one out")
    return name, (f"{kind}.{OPTION}={path}", *sets)


def split_judge(registry: Registry, judge: str, sets: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the judge's name and the texts of `--set`, with the path among them; as :func:`split_model`.

    Raises:
        UsageError: the path is empty or given twice, there is no such judge, or it takes no path.
        PluginError: as :meth:`silmm.registry.registry.Registry.entry`.
    """
    name, colon, path = judge.partition(":")
    if not colon:
        return judge, tuple(sets)
    taken = registry.entry("judge", name).options.model_fields
    option = next((one for one in PATH_OPTIONS if one in taken), None)
    if option is None:
        raise UsageError(f"the judge {name!r} takes no path: it needs no files. Write {name}.")
    if not path:
        raise UsageError(f"{judge} ends with its colon; write {name}:PATH")
    twice = [text for text in sets if text.partition("=")[0].strip() == f"judge.{option}"]
    if twice:
        raise UsageError(f"{judge} and --set {twice[0]} both give the path; leave one out")
    return name, (f"judge.{option}={path}", *sets)
