"""Registration of `vlm-diffusion`: what it can do, its options, and the settings that suit it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm_plugins.models.vlm_diffusion.options import CAPABILITIES, DEFAULTS, VlmDiffusionOptions

if TYPE_CHECKING:
    from silmm.contracts.models import BaseModel
    from silmm.contracts.registration import Register





def register_models(register: Register) -> None:
    """Register the pair of a vision-language model and a diffusion pipeline."""
    register(
        "vlm-diffusion",
        _build,
        options=VlmDiffusionOptions,
        summary="Qwen-Image: Qwen2.5-VL conditions a diffusion transformer (--model vlm-diffusion:DIR).",
        kind="continuous",
        capabilities=CAPABILITIES,
        defaults=DEFAULTS,
        paper="ours",
    )


def _build(options: VlmDiffusionOptions) -> BaseModel:
    from silmm_plugins.models.vlm_diffusion.model import VlmDiffusion

    return VlmDiffusion.load(options)
