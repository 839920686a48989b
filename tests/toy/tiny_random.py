"""A random tiny discrete model of stock Llama blocks, for tests that need a backbone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from silmm.contracts.models import BaseModel, ChatRequest, Image, Latent, SamplingParams

WORDS = (
    "<pad>",
    "<image>",
    "a",
    "an",
    "and",
    "red",
    "blue",
    "circle",
    "square",
    "striped",
    "three",
)
CODES = 12
LENGTH = 6
VOCABULARY = len(WORDS) + CODES
PROMPTS = (
    "a red circle",
    "a blue square and a red circle",
    "three circle",
    "a striped square",
    "a red square",
    "a blue circle",
    "a striped circle and a blue square",
    "three square",
)


def random_backbone(seed: int = 0) -> LlamaForCausalLM:
    """Return a Llama of hidden size 16 with random weights of the seed."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
        attention_dropout=0.1,
        initializer_range=0.2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


class TinyRandom(BaseModel):
    """Words, then `<image>`, then LENGTH image codes; the softmax is over the codes alone."""

    def __init__(self, seed: int = 0) -> None:
        self.kind = "discrete"
        self.capabilities = frozenset({"chat", "yes_no", "log_likelihood", "token_log_likelihood", "nucleus"})
        self.backbone = random_backbone(seed)
        self.lora_targets = r"model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
        self.likelihood_calls: list[int] = []

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        """Answer with random words of the vocabulary, as an untrained model does."""
        return [" ".join(np.random.default_rng(request.seed).choice(WORDS[2:], 4)) for request in requests]

    def encode(self, prompt: str) -> list[int]:
        """Return the ids of a prompt with the image mark at its end."""
        return [WORDS.index(word) for word in prompt.split()] + [1]

    @torch.no_grad()
    def represent(self, prompts: Sequence[str], seeds: Sequence[int], sampling: SamplingParams) -> list[Latent]:
        """Sample LENGTH codes from the temperature-scaled distribution, one sequence at a time."""
        return [self._sample(p, s, sampling) for p, s in zip(prompts, seeds, strict=True)]

    def _sample(self, prompt: str, seed: int, sampling: SamplingParams) -> Latent:
        generator = torch.Generator().manual_seed(seed % 2**63)
        ids = self.encode(prompt)
        start = len(ids)
        for _ in range(LENGTH):
            logits = self.backbone(torch.tensor([ids])).logits[0, -1, len(WORDS) :]
            probabilities = (logits / sampling.temperature).softmax(-1)
            ids.append(len(WORDS) + int(torch.multinomial(probabilities, 1, generator=generator)))
        return np.array(ids[start:], dtype=np.int32) - len(WORDS)

    def decode(self, latents: Sequence[Latent], seeds: Sequence[int]) -> list[Image]:
        """Decode the codes as grey levels."""
        return [np.repeat(z.astype(np.uint8).reshape(2, 3, 1) * 20, 3, axis=2) for z in latents]

    def yes_no(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[npt.NDArray[np.float64]]:
        """Answer from the brightness of the image."""
        return [
            np.tile([image.mean() / 255, 1 - image.mean() / 255], (len(asked), 1))
            for image, asked in zip(images, questions, strict=True)
        ]

    def token_log_likelihood(self, prompts: Sequence[str], latents: Sequence[Latent]) -> torch.Tensor:
        """Return log pi of each code, shape (batch, LENGTH), with right padding."""
        self.likelihood_calls.append(len(prompts))
        heads = [self.encode(prompt) for prompt in prompts]
        rows = [
            torch.tensor(head + [int(c) + len(WORDS) for c in z])
            for head, z in zip(heads, latents, strict=True)
        ]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=0)
        mask = torch.nn.utils.rnn.pad_sequence(
            [torch.ones_like(row) for row in rows], batch_first=True, padding_value=0
        )
        logits = self.backbone(ids, attention_mask=mask).logits[:, :-1, len(WORDS) :].float()
        picked = (
            logits.log_softmax(-1)
            .gather(-1, (ids[:, 1:] - len(WORDS)).clamp(min=0).unsqueeze(-1))
            .squeeze(-1)
        )
        return picked[ids[:, 1:] >= len(WORDS)].reshape(len(latents), LENGTH)
