"""Trainer `sft`: the paper's baseline, pull the model toward the chosen candidates (Table 3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from silmm.interfaces import BaseModel, Preference
from silmm_plugins.lora_options import LoraOptions

if TYPE_CHECKING:
    import torch

    from silmm_plugins.preference_data import Batch


class SftOptions(LoraOptions):
    """Options of `sft`: those of every LoRA trainer."""


class Sft:
    """Train LoRA weights on the likelihood of the chosen; the rejected are measured, not used."""

    def __init__(self, options: SftOptions) -> None:
        """Keep the options; see :class:`SftOptions`."""
        self.options = options

    def objective(self, policy: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return each pair's chosen mean negative log-likelihood, (pairs,), in nats a token."""
        from silmm_plugins import losses

        return losses.token_nll(policy, batch.tokens)[batch.chosen]

    def train(
        self,
        model: BaseModel,
        preferences: Sequence[Preference],
        *,
        start: Path | None,
        out: Path,
        work: Path,
        seed: int,
        observe: Callable[[int, Mapping[str, float]], None],
    ) -> Mapping[str, float]:
        """Train and write `out`; the margin in the metrics is in nats (beta 1)."""
        from silmm_plugins.lora_training import train_lora

        return train_lora(
            model,
            preferences,
            self.objective,
            self.options,
            beta=1.0,
            start=start,
            out=out,
            work=work,
            seed=seed,
            observe=observe,
        )
