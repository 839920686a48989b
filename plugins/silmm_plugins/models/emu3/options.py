"""Options and declared capabilities of the model; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, JsonValue

from silmm_plugins.models._shared.loading_options import LoadingOptions

if TYPE_CHECKING:
    from silmm.contracts.models import Capability


CAPABILITIES: tuple[Capability, ...] = ("chat", "yes_no", "log_likelihood", "nucleus", "rewrite")


DEFAULTS: dict[str, object] = {
    "sampler.temperature": 1.0,
    "sampler.top_p": 1.0,
    "sampler.top_k": 2048,
    "trainer.gradient_accumulation_steps": 32,
    "trainer.precision": "bf16",
    "trainer.gradient_checkpointing": True,
}
"""Sampling is the authors' own (spec/base-models.md 3.5); 8k tokens a sequence want small micro-batches."""


_NEGATIVE = (
    "lowres, bad anatomy, bad hands, text, error, missing fingers, extra digit, fewer digits, cropped, "
    "worst quality, low quality, normal quality, jpeg artifacts, signature, watermark, username, blurry."
)


def _of(unit: str = "", paper: str = "ours", **marks: JsonValue) -> dict[str, JsonValue]:
    return {"paper": paper, "unit": unit, **marks}


class Emu3Options(LoadingOptions):
    """Options of `emu3`; what says "authors" is the setting of the model's own code."""

    path: str = Field(
        default="",
        description="Emu3-Gen in its original or its -hf layout, a folder that holds it and the other parts, "
        "or a hub id",
        json_schema_extra=_of(checkpoint={"revision": "revision"}),
    )
    judge: str = Field(
        default="",
        description="Emu3-Chat in either layout: folder or hub id; empty: the one beside the policy; "
        "self: the policy answers itself",
        json_schema_extra=_of(checkpoint={"beside": ["Emu3-Chat", "Emu3-Chat-hf"], "words": ["self"]}),
    )
    vision: str = Field(
        default="",
        description="Emu3-VisionTokenizer: folder or hub id; empty: inside (-hf) or beside the policy",
        json_schema_extra=_of(checkpoint={"beside": ["Emu3-VisionTokenizer"]}),
    )
    judge_device: str = Field(
        default="",
        description="where the judge is put, if not with the policy: there it stays, whatever `offload` says",
        json_schema_extra=_of(),
    )
    image_area: int = Field(
        default=0,
        ge=0,
        description="of an image; 0: as the checkpoint says, or 518400 (720 x 720). 262144 halves all times",
        json_schema_extra=_of("pixels", "authors: 518400"),
    )
    ratio: str = Field(
        default="1:1", description="width to height of an image", json_schema_extra=_of("", "authors: 1:1")
    )
    guidance: float = Field(
        default=3.0,
        ge=1.0,
        description="classifier-free guidance in sampling; 1 is off, and halves its cost",
        json_schema_extra=_of("", "authors: 3"),
    )
    positive_suffix: str = Field(
        default=" masterpiece, film grained, best quality.",
        description="follows every prompt, in sampling and in training",
        json_schema_extra=_of("", "authors"),
    )
    negative_prompt: str = Field(
        default=_NEGATIVE, description="what guidance leads away from", json_schema_extra=_of("", "authors")
    )
    max_pixels: int = Field(
        default=0,
        ge=0,
        description="most pixels of an image that is asked about; 0: as the checkpoint says. 262144 makes "
        "answers about twice as fast",
        json_schema_extra=_of("pixels"),
    )
    sampling_batch_size: int = Field(
        default=8,
        ge=1,
        description="candidates sampled at once; 2.1 GB of cache each at 720 x 720 with guidance",
        json_schema_extra=_of("candidates"),
    )
    vqa_batch_size: int = Field(
        default=8,
        ge=1,
        description="questions about an image, or chat requests, answered at once",
        json_schema_extra=_of("requests"),
    )
    head_chunk: int = Field(
        default=1024,
        ge=1,
        description="positions of a likelihood whose logits exist at a time; 134 MB at the real size",
        json_schema_extra=_of("positions"),
    )
