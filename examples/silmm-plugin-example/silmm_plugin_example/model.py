"""A base model of random weights: bytes in, 16 image tokens out, yes and no about images.

Sequences are ``<bos> prompt <sample> token_1 … token_16``, and ``<bos> token_1 … token_16 <ask> question``,
followed by the answer. A token is one of 16 colours and fills a cell of a 4x4 grid.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from silmm import BaseModel, ChatRequest, DataError, Image, Latent, SamplingParams

PAD, BOS, SAMPLE, ASK, YES, NO = range(6)
FIRST_BYTE = 6
FIRST_CODE = FIRST_BYTE + 256
CODES, GRID, CELL = 16, 4, 8
LONGEST = 400
"""Bytes that a prompt or a question may have."""
COLOURS = np.array([[85 * (c // 4), 85 * (c % 4), 17 * c] for c in range(CODES)], dtype=np.uint8)


class RandomModel(BaseModel):
    """A Llama of two layers that nobody trained; replace it with a model that somebody did."""

    def __init__(self, seed: int = 0) -> None:
        """Make the weights from `seed`, without touching the process's random state."""
        self.kind = "discrete"
        self.capabilities = frozenset({"yes_no", "log_likelihood", "nucleus"})
        self.lora_targets = r"model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
        config = LlamaConfig(
            vocab_size=FIRST_CODE + CODES,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=2 * LONGEST,
            initializer_range=0.2,  # larger than for training, so that choices matter
            pad_token_id=PAD,
            bos_token_id=BOS,
            eos_token_id=None,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.backbone = LlamaForCausalLM(config)
        self.backbone.eval().requires_grad_(False)

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        """Refuse: the capability is not declared."""
        raise NotImplementedError("this model does not write text")

    def reads(self, prompt: str) -> bool:
        """Say whether the prompt is short enough."""
        return len(prompt.encode()) <= LONGEST

    @torch.inference_mode()
    def represent(self, prompts: Sequence[str], seeds: Sequence[int], sampling: SamplingParams) -> list[Latent]:
        """Sample 16 tokens per prompt, one candidate after the other: no batch, no padding."""
        return [self._sample(prompt, seed, sampling) for prompt, seed in zip(prompts, seeds, strict=True)]

    def _sample(self, prompt: str, seed: int, sampling: SamplingParams) -> Latent:
        generator = torch.Generator().manual_seed(seed)  # the candidate's own
        ids = self._prompt(prompt)
        for _ in range(GRID * GRID):
            logits = self.backbone(torch.tensor([ids])).logits[0, -1, FIRST_CODE:].float()
            weights = _allowed(logits, sampling)
            ids.append(FIRST_CODE + int(torch.multinomial(weights, 1, generator=generator)))
        return np.array(ids[-GRID * GRID :], dtype=np.int32) - FIRST_CODE

    def log_likelihood(self, prompts: Sequence[str], latents: Sequence[Latent]) -> torch.Tensor:
        """Return log pi(z|x), (batch,); the softmax is over the 16 colours, as in sampling.

        Padding is on the right, where causal attention never reaches.
        """
        starts = [self._prompt(prompt) for prompt in prompts]
        rows = [
            torch.tensor([*start, *(z.astype(np.int64) + FIRST_CODE)])
            for start, z in zip(starts, latents, strict=True)
        ]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
        logits = self.backbone(ids).logits[..., FIRST_CODE:].float()
        # The token at position t is predicted at t - 1.
        at = torch.tensor([len(start) - 1 for start in starts])[:, None] + torch.arange(GRID * GRID)
        own = logits[torch.arange(len(rows))[:, None], at].log_softmax(-1)
        codes = torch.from_numpy(np.stack(latents).astype(np.int64))
        return own.gather(-1, codes[..., None]).squeeze(-1).sum(-1)

    def decode(self, latents: Sequence[Latent], seeds: Sequence[int]) -> list[Image]:  # noqa: ARG002
        """Decode each token's colour into its cell; there is no noise, so seeds change nothing."""
        cells = [COLOURS[z].reshape(GRID, GRID, 3) for z in latents]
        return [cell.repeat(CELL, axis=0).repeat(CELL, axis=1) for cell in cells]

    @torch.inference_mode()
    def yes_no(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[npt.NDArray[np.float64]]:
        """Return p(yes), p(no) at the first position of the answer, one question at a time."""
        return [
            np.array([self._answer(_codes(image), question) for question in asked]).reshape(-1, 2)
            for image, asked in zip(images, questions, strict=True)
        ]

    def _answer(self, codes: Sequence[int], question: str) -> list[float]:
        ids = [BOS, *(FIRST_CODE + code for code in codes), ASK, *_bytes(question)]
        probabilities = self.backbone(torch.tensor([ids])).logits[0, -1].double().softmax(-1)
        return [float(probabilities[YES]), float(probabilities[NO])]

    def _prompt(self, prompt: str) -> list[int]:
        return [BOS, *_bytes(prompt), SAMPLE]


def _bytes(text: str) -> list[int]:
    encoded = text.encode()
    if len(encoded) > LONGEST:
        raise DataError(f"the text {text[:40]!r}… has {len(encoded)} bytes, at most {LONGEST} fit; shorten it")
    return [FIRST_BYTE + byte for byte in encoded]


def _codes(image: Image) -> list[int]:
    """Return the nearest colour of each cell's middle."""
    middles = image[CELL // 2 :: CELL, CELL // 2 :: CELL].reshape(-1, 1, 3).astype(np.int64)
    nearest: list[int] = ((middles - COLOURS.astype(np.int64)) ** 2).sum(-1).argmin(-1).tolist()
    return nearest


def _allowed(logits: torch.Tensor, sampling: SamplingParams) -> torch.Tensor:
    """Return the weights of the tokens that temperature, top-k and nucleus leave, (codes,)."""
    weights = (logits / sampling.temperature).softmax(-1)
    ordered, order = weights.sort(descending=True)
    keep = ordered.cumsum(0) - ordered < sampling.top_p
    if sampling.top_k:
        keep[sampling.top_k :] = False
    return torch.zeros_like(weights).scatter(0, order, ordered * keep)
