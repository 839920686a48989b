"""What a kind of training computes of its prompts; the loop of `lora_training` does the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from silmm.contracts.models import BaseModel, Preference
from silmm_plugins.training.lora.batches import batches

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

    def batches(self, seed: int) -> Iterator[list[int]]:
        """Yield the positions of each step in turn, for ever; `seed` alone decides the order."""
        ...

    def begin(self, step: int, positions: Sequence[int]) -> Sequence[int]:
        """Prepare a step, before its first forward pass; return the positions that have a loss."""
        ...

    def length(self, position: int) -> int:
        """Return about how many tokens a sequence of this prompt has, to batch sequences of like length."""
        ...

    def rows(self, position: int) -> int:
        """Return how many sequences this prompt takes through the model."""
        ...

    def terms(self, position: int) -> int:
        """Return how many losses this prompt has; a step's loss is their mean over its prompts."""
        ...

    def forward(self, positions: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the losses, (terms,), and what the metrics need, summed, (width,).

        The losses are differentiable in the LoRA weights, the sums are not.
        """
        ...

    def metrics(self, sums: Sequence[float], terms: int) -> dict[str, float]:
        """Return the metrics of a step from its sums over all micro-batches and processes."""
        ...

    def warning(self, step: int, metrics: Mapping[str, float]) -> Warning | None:
        """Return a warning where the policy goes astray."""
        ...


MakeObjective: TypeAlias = Callable[[str], Objective]
"""Given the training's digest, with the start adapter on the model: computes the reference's values."""


@dataclass(frozen=True)
class PairObjective:
    """What objectives of pairs share: all pairs of a prompt stay together, each with its weight."""

    model: BaseModel
    preferences: Sequence[Preference]
    weights: Sequence[torch.Tensor]
    """What the pairs of each prompt count, float32 (pairs,) each."""
    batch_size: int
    """Pairs of a step."""
    precision: str

    def batches(self, seed: int) -> Iterator[list[int]]:
        """Yield groups of prompts that hold `batch_size` pairs together."""
        return batches([len(preference.pairs) for preference in self.preferences], self.batch_size, seed)

    def begin(self, step: int, positions: Sequence[int]) -> Sequence[int]:  # noqa: ARG002 - the contract
        """Return the positions: every prompt has pairs."""
        return positions

    def terms(self, position: int) -> int:
        """Return the number of pairs."""
        return len(self.preferences[position].pairs)
