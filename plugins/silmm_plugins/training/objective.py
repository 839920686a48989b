"""What one kind of training does with its prompts; the loop of `lora_training` does the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    import torch


class Objective(Protocol):
    """Losses and metrics of prompts by their position, with the reference's values at hand."""

    @property
    def width(self) -> int:
        """How many sums :meth:`forward` returns: a process without prompts counts them as 0."""
        ...

    @property
    def flag(self) -> str:
        """Name of the metric that is 1 where :meth:`warning` has something to say."""
        ...

    def length(self, position: int) -> int:
        """Return about how many tokens a sequence of this prompt has, to put like with like."""
        ...

    def rows(self, position: int) -> int:
        """Return how many sequences this prompt takes through the model."""
        ...

    def forward(self, positions: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss of each pair, (pairs,), and what the metrics need, summed, (width,).

        The losses are differentiable in the LoRA weights, the sums are not.
        """
        ...

    def metrics(self, sums: Sequence[float], pairs: int) -> dict[str, float]:
        """Return the metrics of a step from its sums over all micro-batches and processes."""
        ...

    def warning(self, step: int, metrics: Mapping[str, float]) -> Warning | None:
        """Return a warning where the policy moves away from the chosen."""
        ...


Prepare: TypeAlias = Callable[[Path, str], Objective]
"""Given the training's folder and digest, with the start adapter on the model: computes the reference."""
