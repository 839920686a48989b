"""`tiny-continuous` as a base model: strings and images in, strings, features, images and answers out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from silmm.contracts.models import Image, Latent, SamplingParams
from silmm_plugins.models._shared.representations import checked_features, features_by_prompt
from silmm_plugins.models._shared.sequences import slices
from silmm_plugins.models.tiny.model import TinyModel
from silmm_plugins.models.tiny.vocabulary import Vocabulary
from silmm_plugins.models.tiny_continuous.decoder import TinyDecoder, sample_noise
from silmm_plugins.models.tiny_continuous.language_model import TinyContinuousLM
from silmm_plugins.models.tiny_continuous.options import CAPABILITIES, WEIGHTS

_SAMPLING_BATCH_SIZE = 256


class TinyContinuous(TinyModel):
    """A continuous LMM of toy size: learnable queries, their hidden states H, and a frozen decoder."""

    name = "tiny-continuous"
    weights = WEIGHTS
    declared = CAPABILITIES
    taught = ("list", "write", "decompose", "question", "rephrase", "explain")

    def __init__(self, language_model: TinyContinuousLM, decoder: TinyDecoder) -> None:
        """Wrap the two networks, in eval mode."""
        self.kind = "continuous"
        super().__init__(language_model, decoder)
        self.language_model, self.decoder = language_model, decoder

    @classmethod
    def networks(cls, vocabulary: Vocabulary, config: Mapping[str, Any]) -> dict[str, torch.nn.Module]:
        """Build the language model and the decoder."""
        return {
            "language_model": TinyContinuousLM(vocabulary, **config["language_model"]),
            "decoder": TinyDecoder(**config["decoder"]),
        }

    def image_prefix(self, pixels: torch.Tensor) -> Any:
        """Return the key-value cache of images, read patch by patch."""
        cache, _ = self.language_model.encode_images(self.language_model.patches(pixels))
        return cache

    # -- sampling -------------------------------------------------------------------------------------

    @torch.inference_mode()
    def represent(
        self, prompts: Sequence[str], seeds: Sequence[int], sampling: SamplingParams  # noqa: ARG002
    ) -> list[Latent]:
        """Return H(x), float32 (L, D), of each prompt; it is deterministic, so seeds change nothing."""
        return features_by_prompt(self.features, prompts, _SAMPLING_BATCH_SIZE)

    def features(self, prompts: Sequence[str], query_offsets: torch.Tensor | None = None) -> torch.Tensor:
        """Return H of shape (batch, L, D), differentiable in the backbone.

        Raises:
            DataError: the model cannot read a prompt.
        """
        return self.language_model.features([self.prompt_ids(p) for p in prompts], query_offsets)

    def mlp_blocks(self) -> Sequence[torch.nn.Module]:
        """Return the MLP block of each decoder layer, first to last."""
        base: Any = self.backbone
        return [layer.mlp for layer in base.model.layers]

    def query_embeddings(self) -> torch.Tensor:
        """Return the learnable queries, (L, D)."""
        return self.language_model.queries

    @torch.inference_mode()
    def decode(self, latents: Sequence[Latent], seeds: Sequence[int]) -> list[Image]:
        """Decode each H (L, D) under the noise of its seed, as an image (32, 32, 3).

        Raises:
            DataError: a representation has another shape than this model's H, or is not finite.
        """
        shape = tuple(self.language_model.queries.shape)
        images: list[Image] = []
        for part in slices(len(latents), _SAMPLING_BATCH_SIZE):
            features = torch.from_numpy(np.stack([checked_features(self.name, z, shape) for z in latents[part]]))
            noise = sample_noise(seeds[part], self.decoder.noise_slots, self.decoder.noise_levels)
            decoded = self.decoder.decode(features.to(self.device), noise.to(self.device))
            images += list((decoded * 255).round().to(torch.uint8).movedim(1, -1).cpu().numpy())
        return images
