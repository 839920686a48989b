"""Options of the generators; listing them loads nothing heavy."""

from __future__ import annotations

from typing import Literal

from silmm.contracts.generators import GeneratorOptions
from silmm.contracts.options import option


class DiffusersOptions(GeneratorOptions):
    """How a diffusers pipeline samples; None leaves a value to the pipeline, and the identity names it."""

    revision: str | None = option(None, "commit, tag or branch of a model on the hub")
    steps: int | None = option(None, "denoising steps", ge=1)
    guidance: float | None = option(None, "guidance scale", ge=0)
    width: int | None = option(None, ge=8, unit="pixels")
    height: int | None = option(None, ge=8, unit="pixels")
    negative_prompt: str = option("", "what the images should not show")
    dtype: Literal["float32", "bfloat16", "float16"] = option("float32", "precision")
    device: str = option("", "cpu, cuda, cuda:1, mps; empty takes a GPU if there is one")
    scheduler: str | None = option(None, "a diffusers scheduler class in place of its own")
    safety_checker: bool = option(True, "False takes the pipeline's safety checker out")


class OpenAIImagesOptions(GeneratorOptions):
    """How images are requested from an endpoint."""

    base_url: str = option("", "endpoint; empty: $OPENAI_BASE_URL, else OpenAI's")
    width: int | None = option(None, ge=8, unit="pixels")
    height: int | None = option(None, ge=8, unit="pixels")
    quality: str | None = option(None, "quality that the endpoint is asked for")
    send_seed: bool = option(False, "send seeds to the endpoint (OpenAI's refuses them)")
    price: float | None = option(None, "per image, for an estimate of the cost", ge=0)
    concurrency: int = option(4, "requests in flight at the same time", ge=1)
    requests_per_minute: float | None = option(None, "rate limit of the endpoint", gt=0)
    attempts: int = option(6, "attempts per request", ge=1)
    timeout: float = option(300.0, gt=0, unit="seconds")
