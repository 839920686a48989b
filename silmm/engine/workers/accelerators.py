"""Assigns accelerators to the processes of a run that share a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from silmm.engine.settings import RunSettings

UNNAMED = frozenset({"cuda", "auto"})
"""Values of an option `device` without a number: torch takes the current device of the process."""


def any_will_do(settings: RunSettings) -> bool:
    """Return whether a base model of the run goes to an accelerator without a number."""
    return any(
        value in UNNAMED
        for kind in ("model", "judge_model")
        for option, value in settings.options.get(kind, {}).items()
        if option == "device" or option.endswith("_device")
    )


def share(number: int, count: int) -> int:
    """Return the accelerator of process `number` among `count`: processes are assigned round robin."""
    return number % count


def take(number: int) -> None:
    """Make the accelerator of process `number` the device ``cuda`` of this process.

    Without an accelerator nothing happens.
    """
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(share(number, torch.cuda.device_count()))
