"""Step 1, prompts (PROMPTS): what the prompter writes or the user gives, without what cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from silmm.contracts.candidates import Prompt
from silmm.contracts.components import Prompter, PrompterResult
from silmm.contracts.models import BaseModel
from silmm.engine.stages.plugin_calls import blaming
from silmm.engine.stages.seed_scope import SeedScope
from silmm.errors import DataError

UNREADABLE = "unreadable"


def write_prompts(
    model: BaseModel,
    prompter: Prompter,
    count: int,
    scope: SeedScope,
    excluded: Callable[[str], bool],
    who: str = "The prompter",
) -> PrompterResult:
    """Let the prompter write `count` prompts; drop and count what it should not have returned.

    Raises:
        PluginError: the prompter, called `who`, failed.
        DataError: as :func:`keep_prompts`.
    """
    with blaming(who, f"it wrote {count} prompts"):
        result = prompter.write(model, count, scope.derive("prompts"), excluded)
    return keep_prompts(result.prompts, count, excluded, result.rejected, reads=model.reads)


def keep_prompts(
    prompts: Sequence[Prompt],
    count: int | None,
    excluded: Callable[[str], bool],
    rejected: Mapping[str, int] | None = None,
    *,
    reads: Callable[[str], bool] = lambda _: True,
) -> PrompterResult:
    """Keep the first `count` prompts that are new, not held out and readable; count what is dropped.

    Args:
        reads: Says whether the model can read a prompt (:meth:`BaseModel.reads`).

    Raises:
        DataError: None is left, and some that the model cannot read are among the lost.
    """
    counts = dict(rejected or {})
    kept: dict[str, Prompt] = {}
    unreadable: list[str] = []
    for prompt in prompts:
        if count is not None and len(kept) == count:
            break
        reason = (
            "duplicate" if prompt.text in kept
            else "excluded" if excluded(prompt.text)
            else None if reads(prompt.text) else UNREADABLE
        )
        if reason is None:
            kept[prompt.text] = prompt
            continue
        counts[reason] = counts.get(reason, 0) + 1
        unreadable += [prompt.text] if reason == UNREADABLE else []
    if unreadable and not kept:
        raise DataError(
            f"No prompt is left to work on: the model cannot read {len(unreadable)} of them, such as "
            f"{unreadable[0]!r}. They hold words that it does not know, or are too long for it; its "
            "page in docs/ tells what it reads."
        )
    return PrompterResult(tuple(kept.values()), counts)
