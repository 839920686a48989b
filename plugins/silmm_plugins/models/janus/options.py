"""Options and declared capabilities of the model; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from silmm_plugins.models._shared.loading_options import LoadingOptions

if TYPE_CHECKING:
    pass


class JanusOptions(LoadingOptions):
    """Options of `janus`."""

    path: str = Field(
        default="",
        description="folder of a Janus or Janus-Pro checkpoint, transformers or original layout, or a hub id "
        "such as deepseek-community/Janus-Pro-1B",
        json_schema_extra={"paper": "ours", "unit": "", "checkpoint": {"revision": "revision"}},
    )
    guidance: float = Field(
        default=5.0,
        ge=0.0,
        description="classifier-free guidance of sampling, 1 is none; the likelihood never has any",
        json_schema_extra={"paper": "Janus: 5", "unit": ""},
    )
    sampling_batch_size: int = Field(
        default=16,
        ge=1,
        description="images sampled at once",
        json_schema_extra={"paper": "ours", "unit": "images"},
    )
    decode_batch_size: int = Field(
        default=16,
        ge=1,
        description="images decoded at once",
        json_schema_extra={"paper": "ours", "unit": "images"},
    )
    vqa_batch_size: int = Field(
        default=8,
        ge=1,
        description="images looked at at once, each with all its questions",
        json_schema_extra={"paper": "ours", "unit": "images"},
    )
    chat_batch_size: int = Field(
        default=16,
        ge=1,
        description="texts written at once",
        json_schema_extra={"paper": "ours", "unit": "requests"},
    )
