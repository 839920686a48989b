"""Which accelerator a process of a run computes on, where several processes share a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from silmm.engine.settings import RunSettings

UNNAMED = frozenset({"cuda", "auto"})
"""Values of an option `device` that leave the number open: torch takes the current one of the process."""


def any_will_do(settings: RunSettings) -> bool:
    """Say whether a base model of the run goes to an accelerator without saying which."""
    return any(
        value in UNNAMED
        for kind in ("model", "judge_model")
        for option, value in settings.options.get(kind, {}).items()
        if option == "device" or option.endswith("_device")
    )


def share(number: int, count: int) -> int:
    """Return the accelerator of process `number` among `count` of them: they are dealt out in turn."""
    return number % count


def take(number: int) -> None:
    """Make the accelerator of process `number` the one that models go to by the name ``cuda``.

    Without an accelerator nothing happens.
    """
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(share(number, torch.cuda.device_count()))
