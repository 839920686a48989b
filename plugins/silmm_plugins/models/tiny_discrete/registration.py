"""Registration of `tiny-discrete`: what it can do, and the settings that suit its size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm_plugins.models.tiny.weights import revision, verify
from silmm_plugins.models.tiny_discrete.options import DEFAULTS, WEIGHTS, TinyDiscreteOptions

if TYPE_CHECKING:
    from silmm.contracts.models import BaseModel
    from silmm.contracts.registration import Register






def register_models(register: Register) -> None:
    """Register the embedded discrete model."""
    register(
        "tiny-discrete",
        _build,
        options=TinyDiscreteOptions,
        summary="Embedded image-token LMM (2.1 M parameters) in a world of coloured shapes.",
        kind="discrete",
        capabilities=("chat", "yes_no", "log_likelihood", "nucleus"),
        defaults=DEFAULTS,
        paper="ours; shaped like SEED-LLaMA and Emu3",
        check=lambda: verify(WEIGHTS),
        revision=revision(WEIGHTS),
    )


def _build(options: TinyDiscreteOptions) -> BaseModel:
    from silmm_plugins.models.tiny_discrete.model import TinyDiscrete

    return TinyDiscrete.load(device=options.device)
