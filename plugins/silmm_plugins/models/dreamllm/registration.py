"""Registration of `dreamllm`: what it can do, its options, and the settings of the paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm_plugins.models.dreamllm.options import CAPABILITIES, DEFAULTS, DreamLlmModelOptions

if TYPE_CHECKING:
    from silmm.contracts.models import BaseModel
    from silmm.contracts.registration import Register





def register_models(register: Register) -> None:
    """Register DreamLLM."""
    register(
        "dreamllm",
        _build,
        options=DreamLlmModelOptions,
        summary="DreamLLM 7B from its original checkpoint folder (--model dreamllm:DIR).",
        kind="continuous",
        capabilities=CAPABILITIES,
        defaults=DEFAULTS,
        paper="Sec. 4.1",
    )


def _build(options: DreamLlmModelOptions) -> BaseModel:
    from silmm_plugins.models.dreamllm.model import DreamLlm

    return DreamLlm.load(options)
