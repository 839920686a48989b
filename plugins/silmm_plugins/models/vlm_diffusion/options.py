"""Options and declared capabilities of the model; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm.contracts.options import option
from silmm_plugins.models._shared.loading_options import LoadingOptions

if TYPE_CHECKING:
    from silmm.contracts.models import Capability

CAPABILITIES: tuple[Capability, ...] = ("chat", "yes_no", "features", "mlp_blocks", "rewrite")

DEFAULTS: dict[str, object] = {
    "sampler": "dropdiv",
    "trainer": "kc-dpo",
    "kernel": "avgpool-cos",
}


class VlmDiffusionOptions(LoadingOptions):
    """Options of `vlm-diffusion`; values of decoding are the defaults of diffusers' QwenImagePipeline."""

    path: str = option(
        "", "folder of a diffusers pipeline (with model_index.json), or its hub id", checkpoint={"revision": "revision"}
    )
    tokens: int = option(
        128,
        "positions of H: prompts of more tokens are dropped, those of fewer have zeros in front",
        ge=8, le=1024, unit="tokens",
    )
    side: int = option(1024, "side of a decoded image", ge=16, unit="pixels")
    steps: int = option(50, "denoising steps per image", ge=1, unit="steps")
    guidance: float = option(4.0, "scale of classifier-free guidance, 1 is none", ge=1.0)
    negative_prompt: str = option(" ", "the prompt that guidance leads away from")
    vqa_max_pixels: int = option(
        448 * 448, "most pixels of an image that is asked about; a larger one is scaled down", ge=56 * 56, unit="pixels"
    )
    sampling_batch_size: int = option(16, "prompts whose H is computed at once", ge=1, unit="prompts")
    chat_batch_size: int = option(16, "chat requests answered at once", ge=1, unit="requests")
