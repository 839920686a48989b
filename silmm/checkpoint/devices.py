"""Devices and number formats: what an option names, and where a network's weights are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from silmm.errors import DataError, UsageError

if TYPE_CHECKING:
    from torch import nn

AUTO = "auto"
"""The GPU of this process if torch has one, else the CPU."""
_FORMATS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def check_device(owner: str, device: str, option: str = "--set model.device") -> torch.device:
    """Return the device that an option names.

    Args:
        owner: the component whose option it is, for the message.
        device: "auto", or one of torch's names such as cpu, cuda or cuda:1.
        option: how the message names the option.

    Raises:
        UsageError: torch cannot use the device.
    """
    if device == AUTO:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # unknown name; torch built without CUDA, no driver
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"{owner} cannot use the device {device!r}: {reason}. Take another one with {option}=cpu; `silmm doctor` "
            "lists what is there."
        ) from error


def device_of(backbone: nn.Module) -> torch.device:
    """Return where a backbone takes its inputs and gives its outputs.

    That is the device of its input embeddings: other parts may wait in main memory, or be spread.
    """
    embeddings = getattr(backbone, "get_input_embeddings", lambda: None)()
    weight: torch.Tensor = next((backbone if embeddings is None else embeddings).parameters())
    return weight.device


def dtype_of(wanted: str, stored: object, source: object) -> torch.dtype:
    """Return the number format of the weights.

    Args:
        wanted: "float32", "bfloat16", "float16", or "auto" for the stored format.
        stored: what the checkpoint states, a name or a torch.dtype; nothing is float32.
        source: the file that states it, for messages.

    Raises:
        DataError: the stored format is asked for, and it is none of the three.
    """
    name = str(stored or "float32").removeprefix("torch.") if wanted == AUTO else wanted
    if name not in _FORMATS:
        raise DataError(
            f"{source} says that the weights are {name!r}, which is none of {', '.join(_FORMATS)}; choose a format "
            "with --set model.dtype=float32"
        )
    return _FORMATS[name]
