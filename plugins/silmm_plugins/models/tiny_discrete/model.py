"""`tiny-discrete` as a base model: strings and images in, strings, tokens, images and answers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from silmm.contracts.models import Image, Latent, SamplingParams
from silmm_plugins.models._shared.generation import sample_codes, streams
from silmm_plugins.models._shared.representations import checked_codes
from silmm_plugins.models._shared.sequences import Decoding, slices
from silmm_plugins.models.tiny.model import TinyModel
from silmm_plugins.models.tiny.vocabulary import Vocabulary
from silmm_plugins.models.tiny_discrete.image_tokenizer import TinyImageTokenizer
from silmm_plugins.models.tiny_discrete.language_model import TinyDiscreteLM
from silmm_plugins.models.tiny_discrete.options import CAPABILITIES, WEIGHTS

_SAMPLING_BATCH_SIZE = 256


class TinyDiscrete(TinyModel):
    """An image-token LMM of toy size: 32x32 images as 64 codes, a few dozen words, one transformer."""

    name = "tiny-discrete"
    weights = WEIGHTS
    declared = CAPABILITIES
    taught = ("list", "write", "decompose", "question")

    def __init__(self, language_model: TinyDiscreteLM, tokenizer: TinyImageTokenizer) -> None:
        """Wrap the two networks, in eval mode."""
        self.kind = "discrete"
        super().__init__(language_model, tokenizer)
        self.language_model, self.tokenizer = language_model, tokenizer

    @classmethod
    def networks(cls, vocabulary: Vocabulary, config: Mapping[str, Any]) -> dict[str, torch.nn.Module]:
        """Build the language model and the image tokenizer."""
        return {
            "language_model": TinyDiscreteLM(vocabulary, **config["language_model"]),
            "image_tokenizer": TinyImageTokenizer(**config["image_tokenizer"]),
        }

    def image_prefix(self, pixels: torch.Tensor) -> Any:
        """Return the key-value cache of images, which are read as their codes."""
        cache, _ = self.language_model.image_prefix(self.tokenizer.encode(pixels))
        return cache

    # -- sampling -------------------------------------------------------------------------------------

    @torch.inference_mode()
    def represent(
        self, prompts: Sequence[str], seeds: Sequence[int], sampling: SamplingParams
    ) -> list[Latent]:
        """Sample image codes, int32 (64,), one candidate for each prompt and seed."""
        model = self.language_model
        rows: list[Latent] = []
        for part in slices(len(prompts), _SAMPLING_BATCH_SIZE):
            ids = [[*self.prompt_ids(prompt), self.vocabulary.boi] for prompt in prompts[part]]
            codes = sample_codes(
                Decoding(model, ids, room=model.image_length - 1),
                streams(seeds[part], model.image_length).to(self.device),
                sampling,
                model.code_logits,
                lambda codes, step: model.embed_codes(codes[:, None], step)[:, 0],
            )
            rows += list(codes.cpu().numpy().astype(np.int32))
        return rows

    @torch.inference_mode()
    def decode(self, latents: Sequence[Latent], seeds: Sequence[int]) -> list[Image]:  # noqa: ARG002
        """Decode codes as images (32, 32, 3); the decoder has no noise, so seeds change nothing.

        Raises:
            DataError: a representation does not have the shape or the range of this model's codes.
        """
        codes = self._codes(latents, [f"image {i}" for i in range(len(latents))])
        images = (self.tokenizer.decode(codes) * 255).round().to(torch.uint8)
        return list(images.movedim(1, -1).cpu().numpy())

    def token_log_likelihood(self, prompts: Sequence[str], latents: Sequence[Latent]) -> torch.Tensor:
        """Return log pi of each code, (batch, tokens); the softmax is over the image codes alone.

        Raises:
            DataError: the model cannot read a prompt, or a representation is not one of its own.
        """
        codes = self._codes(latents, [f"prompt {p!r}" for p in prompts])
        outputs = self.language_model.sampling_outputs([self.prompt_ids(p) for p in prompts], codes)
        return self.language_model.code_likelihoods(outputs, codes)

    def _codes(self, latents: Sequence[Latent], names: Sequence[str]) -> torch.Tensor:
        model = self.language_model
        return checked_codes(self.name, latents, names, model.image_length, model.codes).to(self.device)
