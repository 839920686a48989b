"""Options and declared capabilities of the model; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from silmm_plugins.models._shared.loading_options import LoadingOptions

if TYPE_CHECKING:
    from silmm.contracts.models import Capability


CAPABILITIES: frozenset[Capability] = frozenset({"chat", "yes_no", "log_likelihood", "nucleus", "rewrite"})


class SeedLlamaOptions(LoadingOptions):
    """Options of `seed-llama`."""

    path: str = Field(
        default="",
        description="folder of the language model (or its hub id), or one that holds it and the other parts",
        json_schema_extra={"checkpoint": {"named": True, "revision": "revision"}},
    )
    tokenizer: str = Field(
        default="",
        description="folder (or hub id) with tokenizer.model and seed_quantizer.pt; empty: looked for in and "
        "beside `path`",
        json_schema_extra={
            "checkpoint": {"beside": ["seed_quantizer.pt", "*/seed_quantizer.pt", "seed-tokenizer*"]},
        },
    )
    vit: str = Field(
        default="",
        description="eva_vit_g.pth, where seed_quantizer.pt holds no image encoder; empty: looked for there",
        json_schema_extra={"checkpoint": {"beside": [f"{deep}eva_vit_g.pth" for deep in ("", "*/", "*/*/")]}},
    )
    vit_heads: int = Field(
        default=0,
        ge=0,
        description="attention heads of the image encoder, which no file tells; 0: 16 at the published "
        "width, else as many as the language model has",
    )
    unclip: str = Field(
        default="",
        description="folder (or hub id) of stable-diffusion-2-1-unclip, which samples the images; empty: "
        "looked for in and beside `path`",
        json_schema_extra={"checkpoint": {"beside": ["*unclip*"]}},
    )
    template: Literal["auto", "8b", "14b", "pretrain"] = Field(
        default="auto", description="the release's way of talking; auto: by the folder's name and the width"
    )
    steps: int = Field(
        default=20, ge=1, description="denoising steps of an image (the original scripts' number)",
        json_schema_extra={"unit": "steps"},
    )  # fmt: skip
    guidance: float = Field(
        default=10.0, gt=1.0, description="guidance of an image's denoising (the original scripts' number)"
    )
    sampling_batch_size: int = Field(
        default=64, ge=1, description="candidates sampled at once", json_schema_extra={"unit": "candidates"}
    )
    decode_batch_size: int = Field(
        default=8, ge=1, description="images decoded at once", json_schema_extra={"unit": "images"}
    )
    vqa_batch_size: int = Field(
        default=32, ge=1, description="images read at once", json_schema_extra={"unit": "images"}
    )
    question_batch_size: int = Field(
        default=128, ge=1, description="questions answered at once", json_schema_extra={"unit": "questions"}
    )
    chat_batch_size: int = Field(
        default=32, ge=1, description="chat requests at once", json_schema_extra={"unit": "requests"}
    )
