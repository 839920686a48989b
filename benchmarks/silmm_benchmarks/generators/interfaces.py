"""What the runner asks of whoever draws the pictures, and how a user names one.

`diffusers:ID|DIR` is any text-to-image pipeline of diffusers, `openai-images:MODEL` an endpoint that speaks
OpenAI's images API, and `NAME[:DIR]` a base model of silmm. :func:`silmm_benchmarks.generators.opening.
open_generator` makes one from such a name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from pydantic import Field

from silmm.options import Options

if TYPE_CHECKING:
    from PIL.Image import Image

Reason = Literal["refused", "nsfw", "unreadable", "failed"]
"""refused: by the endpoint's rules. nsfw: blacked out by the pipeline's own safety checker. unreadable: the
model cannot take this prompt. failed: no picture after all attempts."""


@dataclass(frozen=True)
class GenerationFailure:
    """Why there is no picture of a prompt; it is recorded for the item and counted, never scored."""

    reason: Reason
    detail: str
    """One sentence, without secrets."""
    final: bool = True
    """False where another try may succeed: a resumed run asks again."""


@runtime_checkable
class Generator(Protocol):
    """Draws pictures; each depends on its own prompt and seed alone, never on what it was batched with."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Name everything that the pictures depend on, JSON-able, for the protocol card.

        Model, revision, sha256 of local weights, scheduler, steps, guidance, size, dtype, prompt rewriting.
        """
        ...

    @property
    def batch_size(self) -> int:
        """How many prompts a call should carry."""
        ...

    def announce(self, images: int) -> str:
        """Say in one sentence what `images` pictures will cost, or "" where nothing is to be said."""
        ...

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image | GenerationFailure]:
        """Draw one RGB picture for each (prompt, seed), in order.

        Raises:
            UsageError: the generator cannot work at all: a key is missing or not accepted.
        """
        ...


class GeneratorOptions(Options):
    """How to draw; None leaves a value to the model's own default, which the identity then names."""

    steps: int | None = Field(default=None, ge=1, description="denoising steps")
    guidance: float | None = Field(default=None, ge=0, description="guidance scale")
    width: int | None = Field(default=None, ge=8, json_schema_extra={"unit": "pixels"})
    height: int | None = Field(default=None, ge=8, json_schema_extra={"unit": "pixels"})
    negative_prompt: str = Field(default="", description="what the pictures should not show")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(default="float32", description="precision")
    device: str = Field(default="", description="cpu, cuda, cuda:1, mps; empty takes a GPU if there is one")
    batch_size: int | None = Field(
        default=None, ge=1, description="prompts drawn together; empty: 4 by a pipeline, 64 by a base model"
    )
    revision: str | None = Field(default=None, description="commit, tag or branch of a model on the hub")
    scheduler: str | None = Field(default=None, description="a diffusers scheduler class in place of its own")
    safety_checker: bool = Field(default=True, description="False takes the pipeline's safety checker out")
    temperature: float = Field(default=1.0, gt=0, description="sampling of a base model's image tokens")
    top_p: float = Field(default=1.0, gt=0, le=1, description="nucleus of a base model's image tokens")
    top_k: int = Field(default=0, ge=0, description="most likely image tokens of a base model; 0: all")
    adapter: Path | None = Field(default=None, description="PEFT folder for a base model (of silmm run)")
    base_url: str = Field(default="", description="endpoint; empty: $OPENAI_BASE_URL, else OpenAI's")
    price: float | None = Field(default=None, ge=0, description="of one picture, for an estimate of the cost")
    quality: str | None = Field(default=None, description="quality that an images endpoint is asked for")
    send_seed: bool = Field(default=False, description="send seeds to an endpoint (OpenAI's refuses them)")
    concurrency: int = Field(default=4, ge=1, description="requests to an endpoint at the same time")
    requests_per_minute: float | None = Field(default=None, gt=0, description="rate limit of an endpoint")
    attempts: int = Field(default=6, ge=1, description="tries of one request to an endpoint")
    timeout: float = Field(default=300.0, gt=0, json_schema_extra={"unit": "seconds"})
