"""One language model over several devices: its decoder layers are distributed, all else is on the first.

Embeddings, the final norm, the heads and everything else of a backbone are on the first device; hidden states are
sent to each layer and, after the last one, back. Code around the layers therefore sees tensors of the first device
alone; only keys and values are on the device of their layer. Moving states is differentiable and changes no number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from silmm.checkpoint.devices import check_device
from silmm.engine.distributed import processes
from silmm.errors import UsageError


def check_devices(name: str, devices: str) -> tuple[torch.device, ...]:
    """Return the devices of an option: one, or those that a language model is spread over.

    Raises:
        UsageError: torch cannot use one of them, they are of different types, or they are several in each of
            several processes.
    """
    checked = tuple(check_device(name, device.strip()) for device in devices.split(","))
    types = sorted({device.type for device in checked})
    if len(types) > 1:
        raise UsageError(
            f"{name}: model.device={devices} mixes {' and '.join(types)}; a model is spread over devices of one type. "
            "Give one device, or several such as model.device=cuda:0,cuda:1"
        )
    if len(checked) > 1 and processes() > 1:
        raise UsageError(
            f"{name}: model.device={devices} spreads the model, but {processes()} processes train together, "
            "and each has one device. Start one process, or give model.device=auto"
        )
    return checked


class Spread:
    """A backbone that moves to its devices, one or several."""

    def __init__(self, backbone: nn.Module, stack: Any, devices: Sequence[torch.device]) -> None:
        """Prepare a backbone, which stays where it is until :meth:`to` moves it.

        Args:
            backbone: the whole network.
            stack: the transformer inside: whole `layers` are distributed, and the last one's states go to its `norm`.
            devices: at least one.
        """
        self._backbone, self._stack, self._devices = backbone, stack, tuple(devices)
        if len(self._devices) > 1:
            for module in (*stack.layers, stack.norm):
                module.register_forward_pre_hook(_follow, with_kwargs=True)

    def to(self, device: torch.device) -> None:
        """Move everything to one device; where that is the first of its own, each layer to its share of them."""
        targets = self._layer_devices() if device == self._devices[0] else [device] * len(self._stack.layers)
        for layer, target in zip(self._stack.layers, targets, strict=True):
            layer.to(target)
        inside = {module for layer in self._stack.layers for module in layer.modules()}
        for module in self._backbone.modules():
            if module not in inside:
                # what `to` does, without the children
                module._apply(lambda weight: weight.to(device), recurse=False)  # type: ignore[no-untyped-call]

    def _layer_devices(self) -> list[torch.device]:
        """Return a device for each layer, in order, such that all devices hold about as many bytes.

        Weights outside the layers count for the first device.
        """
        sizes = [_bytes(layer) for layer in self._stack.layers]
        total = _bytes(self._backbone)
        before = total - sum(sizes)
        devices = []
        for size in sizes:
            share = (before + size / 2) / total
            devices.append(self._devices[min(int(share * len(self._devices)), len(self._devices) - 1)])
            before += size
        return devices


def _bytes(module: nn.Module) -> int:
    return sum(weight.numel() * weight.element_size() for weight in module.parameters())


def _follow(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """Send the inputs of a module to the device of its weights."""
    device = next(module.parameters()).device
    return _sent(args, device), _sent(kwargs, device)


def _sent(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple | list):
        return type(value)(_sent(item, device) for item in value)
    if isinstance(value, dict):
        return {name: _sent(item, device) for name, item in value.items()}
    return value
