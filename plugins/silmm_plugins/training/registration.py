"""Registration of the trainers; heavy modules are imported when a trainer trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm_plugins.training import c_dpo, dpo, grpo, ipo, kc_dpo, mc_dpo, sft, simpo

if TYPE_CHECKING:
    from silmm.contracts.registration import Register


def register_trainers(register: Register) -> None:
    """Register all trainers."""
    for module in (dpo, kc_dpo, c_dpo, mc_dpo, sft, simpo, ipo, grpo):
        module.register_trainer(register)
