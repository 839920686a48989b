"""A random tiny continuous model: the embedded one's language model, smaller, and a plain decoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from silmm_plugins.models.tiny.vocabulary import Vocabulary
from silmm_plugins.models.tiny_continuous.language_model import TinyContinuousLM

from silmm.contracts.models import BaseModel, ChatRequest, Image, Latent, SamplingParams

WORDS = (
    "yes", "no", "a", "an", "and", "red", "blue", "circle", "square", "striped", "three", "big", "small",
    ",", ".", "?",
)  # fmt: skip
QUERIES, HIDDEN, LAYERS, MLP = 4, 16, 4, 24
PROMPTS = (
    "a red circle",
    "a blue square and a big red circle",
    "three circle",
    "a small striped square",
)


class TinyContinuousRandom(BaseModel):
    """H of 4 queries and 16 dimensions; images of 4x4 pixels that show H and the decoder's seed."""

    def __init__(self, seed: int = 0) -> None:
        self.kind = "continuous"
        self.capabilities = frozenset(
            {"chat", "yes_no", "features", "mlp_blocks", "query_embeddings", "rewrite"}
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.lm = TinyContinuousLM(
                Vocabulary(WORDS, 16), HIDDEN, LAYERS, 2, MLP, queries=QUERIES, patch_mlp=8
            )
            with torch.no_grad():  # larger than the training's start, so that H depends on the prompt
                for weight in self.lm.parameters():
                    weight.mul_(8 if weight.dim() > 1 else 1)
        self.lm.eval().requires_grad_(False)
        self.backbone = self.lm.backbone
        self.lora_targets = r"model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
        self.feature_calls: list[int] = []
        self.requests: list[ChatRequest] = []

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        """Answer a rewrite with the prompt and one more adjective, by the request's seed."""
        self.requests += requests
        return [
            f"{request.input} and a {('big', 'small', 'red', 'blue')[request.seed % 4]} square" for request in requests
        ]

    def reads(self, prompt: str) -> bool:
        """Say whether all words are known."""
        return self.lm.vocabulary.knows(prompt)

    def features(self, prompts: Sequence[str], query_offsets: torch.Tensor | None = None) -> torch.Tensor:
        """Return H, (batch, QUERIES, HIDDEN)."""
        self.feature_calls.append(len(prompts))
        words = self.lm.vocabulary
        ids = [[words.bos, words.sample, *words.encode(prompt)] for prompt in prompts]
        return self.lm.features(ids, query_offsets)

    def mlp_blocks(self) -> Sequence[torch.nn.Module]:
        """Return the MLP blocks."""
        return [layer.mlp for layer in self.backbone.model.layers]

    def query_embeddings(self) -> torch.Tensor:
        """Return the queries."""
        return self.lm.queries

    @torch.no_grad()
    def represent(self, prompts: Sequence[str], seeds: Sequence[int], sampling: SamplingParams) -> list[Latent]:
        """Return H(x), the same for every seed."""
        return list(self.features(prompts).float().numpy())

    def decode(self, latents: Sequence[Latent], seeds: Sequence[int]) -> list[Image]:
        """Decode the first values of H as grey levels, brighter or darker by the seed."""
        return [
            np.repeat(np.clip(H[:4, :4] * 30 + 100 + seed % 50, 0, 255).astype(np.uint8)[..., None], 3, 2)
            for H, seed in zip(latents, seeds, strict=True)
        ]

    def yes_no(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[npt.NDArray[np.float64]]:
        """Answer from the brightness of the image."""
        return [
            np.tile([image.mean() / 255, 1 - image.mean() / 255], (len(asked), 1))
            for image, asked in zip(images, questions, strict=True)
        ]
