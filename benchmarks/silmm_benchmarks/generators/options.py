"""Options of the generators, apart so that listing them loads nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from silmm.contracts.generators import GeneratorOptions


class DiffusersOptions(GeneratorOptions):
    """How a diffusers pipeline samples; None leaves a value to the pipeline, and the identity names it."""

    revision: str | None = Field(default=None, description="commit, tag or branch of a model on the hub")
    steps: int | None = Field(default=None, ge=1, description="denoising steps")
    guidance: float | None = Field(default=None, ge=0, description="guidance scale")
    width: int | None = Field(default=None, ge=8, json_schema_extra={"unit": "pixels"})
    height: int | None = Field(default=None, ge=8, json_schema_extra={"unit": "pixels"})
    negative_prompt: str = Field(default="", description="what the images should not show")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(default="float32", description="precision")
    device: str = Field(default="", description="cpu, cuda, cuda:1, mps; empty takes a GPU if there is one")
    scheduler: str | None = Field(default=None, description="a diffusers scheduler class in place of its own")
    safety_checker: bool = Field(default=True, description="False takes the pipeline's safety checker out")


class OpenAIImagesOptions(GeneratorOptions):
    """How an images endpoint is asked."""

    base_url: str = Field(default="", description="endpoint; empty: $OPENAI_BASE_URL, else OpenAI's")
    width: int | None = Field(default=None, ge=8, json_schema_extra={"unit": "pixels"})
    height: int | None = Field(default=None, ge=8, json_schema_extra={"unit": "pixels"})
    quality: str | None = Field(default=None, description="quality that the endpoint is asked for")
    send_seed: bool = Field(default=False, description="send seeds to the endpoint (OpenAI's refuses them)")
    price: float | None = Field(default=None, ge=0, description="per image, for an estimate of the cost")
    concurrency: int = Field(default=4, ge=1, description="requests in flight at the same time")
    requests_per_minute: float | None = Field(default=None, gt=0, description="rate limit of the endpoint")
    attempts: int = Field(default=6, ge=1, description="tries of one request")
    timeout: float = Field(default=300.0, gt=0, json_schema_extra={"unit": "seconds"})
