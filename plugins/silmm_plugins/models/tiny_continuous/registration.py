"""Registration of `tiny-continuous`: what it can do, and the settings that suit its size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm_plugins.models.tiny.weights import revision, verify
from silmm_plugins.models.tiny_continuous.options import DEFAULTS, WEIGHTS, TinyContinuousOptions

if TYPE_CHECKING:
    from silmm.contracts.models import BaseModel
    from silmm.contracts.registration import Register






def register_models(register: Register) -> None:
    """Register the embedded continuous model."""
    register(
        "tiny-continuous",
        _build,
        options=TinyContinuousOptions,
        summary="Embedded query-and-decoder LMM (3.6 M parameters) in a world of coloured shapes.",
        kind="continuous",
        capabilities=("chat", "yes_no", "features", "mlp_blocks", "query_embeddings", "rewrite"),
        defaults=DEFAULTS,
        paper="ours; shaped like DreamLLM",
        check=lambda: verify(WEIGHTS),
        revision=revision(WEIGHTS),
    )


def _build(options: TinyContinuousOptions) -> BaseModel:
    from silmm_plugins.models.tiny_continuous.model import TinyContinuous

    return TinyContinuous.load(device=options.device)
