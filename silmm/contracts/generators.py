"""The contract of a generator: whatever makes images of prompts for `silmm bench`.

A registered generator is named `NAME:MODEL` (`diffusers:ID|DIR`, `openai-images:MODEL`); any other name is a
base model, `NAME[:DIR]`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from silmm.contracts.options import Options, option

if TYPE_CHECKING:
    from PIL.Image import Image

Reason = Literal["refused", "nsfw", "unreadable", "failed"]
"""refused: by the endpoint's rules. nsfw: blacked out by the pipeline's own safety checker. unreadable: the
model cannot take this prompt. failed: no image after all attempts."""


@dataclass(frozen=True)
class GenerationFailure:
    """Why there is no image of a prompt; it is recorded for the item and counted, never scored."""

    reason: Reason
    detail: str
    """One sentence, without secrets."""
    final: bool = True
    """False where another try may succeed: a resumed run asks again."""


@runtime_checkable
class Generator(Protocol):
    """Samples images; each depends on its own prompt and seed alone, never on what it was batched with."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Name everything that the images depend on, JSON-able, for the protocol card.

        Model, revision, sha256 of local weights, scheduler, steps, guidance, size, dtype, prompt rewriting.
        """
        ...

    @property
    def batch_size(self) -> int:
        """How many prompts a call should carry."""
        ...

    def announce(self, images: int) -> str:
        """Return one sentence about the cost of `images` images, or "" if there is nothing to say."""
        ...

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image | GenerationFailure]:
        """Sample one RGB image for each (prompt, seed), in order.

        Raises:
            UsageError: the generator cannot work at all: a key is missing or not accepted.
        """
        ...


class GeneratorOptions(Options):
    """What every generator's options hold; a registered generator derives its own class from it."""

    model: str = option("", "what follows the colon of --model NAME:MODEL")
    batch_size: int | None = option(None, "prompts in one batch; empty: the generator's own number", ge=1)
