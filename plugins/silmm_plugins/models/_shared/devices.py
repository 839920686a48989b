"""The devices that an option names: `auto`, one of torch's names, or several with commas between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from silmm.engine.distributed import processes
from silmm.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

AUTO = "auto"
"""The GPU of this process if torch sees one, else the CPU."""


def check_device(name: str, device: str) -> torch.device:
    """Return the device, or refuse one that torch cannot use.

    Raises:
        UsageError: as said.
    """
    if device == AUTO:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # unknown name; torch built without CUDA, no driver
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"{name} cannot use the device {device!r}: {reason}. Give another one with "
            "--set model.device=cpu; `silmm doctor` lists what is there."
        ) from error


def check_devices(name: str, devices: str) -> tuple[torch.device, ...]:
    """Return the devices of an option: one, or those that a language model is spread over.

    Raises:
        UsageError: torch cannot use one of them, they are of different types, or they are several in each of
            several processes.
    """
    found = tuple(check_device(name, one.strip()) for one in devices.split(","))
    if len({device.type for device in found}) > 1:
        raise UsageError(
            f"{name}: model.device={devices} mixes {' and '.join(sorted({one.type for one in found}))}; a "
            "model is spread over devices of one type. Give one, or such as model.device=cuda:0,cuda:1"
        )
    if len(found) > 1 and processes() > 1:
        raise UsageError(
            f"{name}: model.device={devices} spreads the model, but {processes()} processes train together, "
            "and each has one device. Start one process, or give model.device=auto"
        )
    return found


def device_of(backbone: nn.Module) -> torch.device:
    """Return where a backbone takes its inputs and gives its outputs.

    That is where its input embeddings are: other parts of it may wait elsewhere, or be spread.
    """
    embeddings = getattr(backbone, "get_input_embeddings", None)
    found = embeddings() if embeddings is not None else None
    weight: torch.Tensor = next((found if found is not None else backbone).parameters())
    return weight.device
