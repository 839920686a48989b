"""Options and declared capabilities of the model; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

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
    """Options of `vlm-diffusion`; those of decoding are the defaults of diffusers' QwenImagePipeline."""

    path: str = Field(
        default="",
        description="folder of a diffusers pipeline (with model_index.json), or its hub id",
        json_schema_extra={"paper": "ours", "unit": "", "checkpoint": {"revision": "revision"}},
    )
    tokens: int = Field(
        default=128,
        ge=8,
        le=1024,
        description="positions of H: prompts of more tokens are left out, those of fewer have zeros in front",
        json_schema_extra={"paper": "ours", "unit": "tokens"},
    )
    side: int = Field(
        default=1024,
        ge=16,
        description="side of a decoded image",
        json_schema_extra={"paper": "ours", "unit": "pixels"},
    )
    steps: int = Field(
        default=50,
        ge=1,
        description="denoising steps of an image",
        json_schema_extra={"paper": "ours", "unit": "steps"},
    )
    guidance: float = Field(
        default=4.0,
        ge=1.0,
        description="scale of classifier-free guidance; 1 is none",
        json_schema_extra={"paper": "ours", "unit": ""},
    )
    negative_prompt: str = Field(
        default=" ",
        description="the prompt that guidance leads away from",
        json_schema_extra={"paper": "ours", "unit": ""},
    )
    look_pixels: int = Field(
        default=448 * 448,
        ge=56 * 56,
        description="an image that is asked about is scaled down to at most so many pixels",
        json_schema_extra={"paper": "ours", "unit": "pixels"},
    )
    chat_batch_size: int = Field(
        default=16,
        ge=1,
        description="prompts or chat requests in one forward pass",
        json_schema_extra={"paper": "ours", "unit": "rows"},
    )
