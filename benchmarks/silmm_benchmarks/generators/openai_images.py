"""Models behind an images endpoint that speaks OpenAI's API (DALL-E 3 and the like) as a generator."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from silmm.bench.images import ImageError, decode_rgb
from silmm.contracts.generators import GenerationFailure
from silmm.errors import UsageError
from silmm_benchmarks.generators.endpoint import Endpoint, open_endpoint
from silmm_benchmarks.generators.options import OpenAIImagesOptions

if TYPE_CHECKING:
    from PIL.Image import Image

DEFAULT_SIDE = 1024
"""Pixels: the one size that all of OpenAI's models sample."""


@dataclass
class ImagesGenerator:
    """Asks for each image by itself, several at the same time."""

    endpoint: Endpoint
    body: Mapping[str, Any]
    """What every request holds, but for the prompt."""
    identity: Mapping[str, Any]
    batch_size: int
    price: float | None
    send_seed: bool = False
    _stopped: UsageError | None = None

    def announce(self, images: int) -> str:
        """Estimate what the images will cost."""
        host = urlsplit(self.endpoint.address).hostname
        if self.price is None:
            return f"{images} images are asked from {host}; the option price gives an estimate of the cost"
        return (
            f"{images} images are asked from {host}; at {self.price:g} each that is about "
            f"{images * self.price:,.2f}, tries that fail half-way not counted"
        )

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Image | GenerationFailure]:
        """Ask for one image of each prompt; what the endpoint made of a prompt is in `info`.

        Raises:
            UsageError: no request can succeed; images that came at the same time are returned first.
        """
        if self._stopped is not None:
            raise self._stopped
        with ThreadPoolExecutor(self.batch_size) as pool:
            images = list(pool.map(self._unless_stopped, prompts, seeds))
        if self._stopped is not None and all(isinstance(image, GenerationFailure) for image in images):
            raise self._stopped
        return images

    def _unless_stopped(self, prompt: str, seed: int) -> Image | GenerationFailure:
        try:
            return self._one(prompt, seed)
        except UsageError as error:
            self._stopped = error
            return GenerationFailure("failed", str(error), final=False)

    def _one(self, prompt: str, seed: int) -> Image | GenerationFailure:
        body = {**self.body, "prompt": prompt} | ({"seed": seed} if self.send_seed else {})
        answer = self.endpoint.post("images/generations", body)
        if isinstance(answer, GenerationFailure):
            return answer
        try:
            entry = answer["data"][0]
            data = self._bytes(entry)
            if isinstance(data, GenerationFailure):
                return data
            image = decode_rgb(data, Path("answer"))
        except (LookupError, TypeError, AttributeError, ValueError):  # no text, no base64, no ASCII
            return GenerationFailure("failed", "the endpoint's answer holds no image", final=False)
        except ImageError as error:
            return GenerationFailure("failed", f"the endpoint's image is unreadable: {error.what}", False)
        if isinstance(entry.get("revised_prompt"), str):
            image.info["revised_prompt"] = entry["revised_prompt"]
        return image

    def _bytes(self, entry: Mapping[str, Any]) -> bytes | GenerationFailure:
        if entry.get("b64_json"):
            return base64.b64decode(entry["b64_json"], validate=True)
        return self.endpoint.fetch(entry["url"])


def open_images(
    options: OpenAIImagesOptions, environ: Mapping[str, str] = os.environ
) -> ImagesGenerator:
    """Return the generator of a model behind an endpoint; nothing is asked yet.

    Raises:
        UsageError: the address or the key cannot be used.
    """
    model = options.model
    if not model:
        raise UsageError("--model openai-images names no model; write openai-images:MODEL")
    endpoint = open_endpoint(
        options.base_url, environ, attempts=options.attempts, timeout=options.timeout,
        per_minute=options.requests_per_minute,
    )
    width, height = options.width or DEFAULT_SIDE, options.height or DEFAULT_SIDE
    body: dict[str, Any] = {"model": model, "n": 1, "size": f"{width}x{height}"}
    if model.startswith("dall-e"):
        body["response_format"] = "b64_json"  # the later models know no other form and refuse the word
    if options.quality is not None:
        body["quality"] = options.quality
    identity = {
        "generator": "openai-images",
        "model": model,
        "endpoint": endpoint.address,
        "revision": "unknown: the endpoint's of the day",
        "size": [width, height],
        "quality": options.quality,
        "seeds": "sent" if options.send_seed else "not sent: images cannot be sampled again",
        "prompt_rewriting": "by the endpoint, where it does so",
    }
    return ImagesGenerator(
        endpoint, body, identity, options.batch_size or options.concurrency, options.price, options.send_seed
    )
