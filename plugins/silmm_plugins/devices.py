"""Whether torch can use the device that an option names."""

from __future__ import annotations

import torch

from silmm.errors import UsageError


def check_device(name: str, device: str) -> torch.device:
    """Return the device, or refuse one that torch cannot use.

    Raises:
        UsageError: as said.
    """
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # unknown name; torch built without CUDA, no driver
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"{name} cannot use the device {device!r}: {reason}. Give another one with "
            "--set model.device=cpu; `silmm doctor` lists what is there."
        ) from error
