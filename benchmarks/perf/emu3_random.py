"""Emu3's language model with random weights, at any size, as its likelihoods are trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import torch
from silmm_plugins.models.emu3.language_model import Emu3LM
from silmm_plugins.models.emu3.tokenizer import Emu3Tokens
from torch import Tensor
from transformers import Emu3ForCausalLM, Emu3TextConfig

from silmm.contracts.models import BaseModel, Latent, Preference


@dataclass(frozen=True)
class Sizes:
    """The sizes that cost time."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
    texts: int
    """Ids of text; the control tokens follow, then the codes."""
    codes: int
    side: int
    """Codes of an image along a side."""


def tokens(sizes: Sizes) -> Emu3Tokens:
    """Return the ids in Emu3's order: text, control tokens, codes."""
    names = ("pad", "eol", "eof", "bos", "eos", "img", "boi", "eoi")
    ids = {name: sizes.texts + place for place, name in enumerate(names)}
    return Emu3Tokens(**ids, visual=sizes.texts + len(names), codes=sizes.codes, texts=sizes.texts)


class RandomEmu3(BaseModel):
    """The shipped likelihood of `emu3` on the stock class; a prompt is random text of its own length."""

    def __init__(self, sizes: Sizes, seed: int = 0) -> None:
        """Make the network, frozen and in eval mode."""
        self.kind = "discrete"
        self.capabilities = frozenset({"log_likelihood"})
        self.lora_targets = r"model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
        self.sizes, self.tokens = sizes, tokens(sizes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Emu3ForCausalLM(_config(sizes, self.tokens))
        self.backbone = network.eval().requires_grad_(False)
        self.policy = Emu3LM(self.backbone, self.tokens, head_chunk=1024)

    def _untimed(self, *arguments: Any, **options: Any) -> NoReturn:
        """Refuse what is not declared."""
        raise NotImplementedError("this model has a likelihood alone")

    chat = represent = decode = yes_no = _untimed

    def prefix(self, prompt: str) -> list[int]:
        """Return the ids before the codes: a letter of the prompt is an id of text."""
        own = self.tokens
        size = [ord(letter) for letter in f"{self.sizes.side}*{self.sizes.side}"]
        return [own.bos, *map(ord, prompt), own.boi, *size, own.img]

    def image(self, z: Latent) -> Latent:
        """Return the codes in rows."""
        return z.reshape(self.sizes.side, self.sizes.side)

    def log_likelihood(self, prompts: Sequence[str], latents: Sequence[Latent]) -> Tensor:
        """Return log pi(z | x), shape (batch,), as `emu3` computes it."""
        images = [self.image(z) for z in latents]
        values = self.policy.code_log_probabilities([self.prefix(p) for p in prompts], images)
        return torch.stack([value.sum() for value in values])

    def preferences(self, prompts: Sequence[str], k: int, seed: int = 0) -> list[Preference]:
        """Return top-k × last-k preferences on random codes: k² pairs of 2k images a prompt."""
        rng = np.random.default_rng(seed)
        pairs = tuple((c, k + r) for c in range(k) for r in range(k))
        shape = (2 * k, self.sizes.side**2)
        sampled = [rng.integers(0, self.sizes.codes, shape).astype(np.int32) for _ in prompts]
        return [Preference(text, tuple(z), pairs) for text, z in zip(prompts, sampled, strict=True)]


def _config(sizes: Sizes, own: Emu3Tokens) -> Emu3TextConfig:
    return Emu3TextConfig(
        vocab_size=own.visual + sizes.codes,
        hidden_size=sizes.hidden,
        intermediate_size=sizes.mlp,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.kv_heads,
        max_position_embeddings=1024,
        attention_dropout=0.0,
        pad_token_id=own.pad,
        bos_token_id=own.bos,
        eos_token_id=own.eos,
    )
