"""Which parts of a model are on its accelerator: frozen parts leave it while others are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from silmm_plugins.models._shared.loading_options import Offload

_HOST = torch.device("cpu")


class Movable(Protocol):
    """A network, or an object that holds a few of them."""

    def to(self, device: torch.device, /) -> object:
        """Move the weights."""
        ...


@dataclass(frozen=True)
class Part:
    """Networks that work together, and their device."""

    networks: tuple[Movable, ...]
    device: torch.device


class Placement:
    """Moves parts between their device and main memory when the kind of work changes, and only then.

    A part is moved to its device when it is needed. It leaves when others work without it: with `offload` "always"
    at any work, with "training" once gradients are asked for, with "never" not at all. No result depends on where a
    part is. Other networks, such as the language model that is trained, stay where they are.
    """

    def __init__(self, offload: Offload) -> None:
        """Begin without parts."""
        self._offload = offload
        self._parts: dict[str, Part] = {}
        self._present: set[str] = set()

    @property
    def parts(self) -> Mapping[str, Part]:
        """The parts by name."""
        return self._parts

    def add(self, name: str, *networks: Movable, device: torch.device, present: bool = False) -> None:
        """Add a part, which is in main memory, or with `present` on its device already."""
        self._parts[name] = Part(networks, device)
        if present:
            self._present.add(name)
        elif self._offload == "never":
            self.need(name)

    @torch.inference_mode(False)  # weights that are moved in inference mode could not be moved back outside
    def need(self, *names: str, training: bool = False) -> None:
        """Move these parts to their devices; `training`: gradients are asked for.

        Parts that have to leave do so first, so that the two never share the memory.
        """
        if self._offload == "always" or (self._offload == "training" and training):
            for name in sorted(self._present.difference(names)):
                self._move(name, _HOST)
                self._present.discard(name)
        for name in names:
            if name not in self._present:
                self._move(name, self._parts[name].device)
                self._present.add(name)

    def _move(self, name: str, device: torch.device) -> None:
        part = self._parts[name]
        if part.device != _HOST:
            for network in part.networks:
                network.to(device)
