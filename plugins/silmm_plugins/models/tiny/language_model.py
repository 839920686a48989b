"""The decoder-only transformer of the embedded models: stock Llama over words and images.

Both models have two kinds of sequence in common, and each adds its own way of sampling:

- understanding  ``<boi> patch_1 … patch_64 <eoi> | <ask> words`` → yes or no after the last word
- text           ``<bos> <task> words | <sep> words <eos>``

The bar marks position :data:`SPLIT` in a text: prompts before it are padded on the left, so that the tokens behind
it have the same rotary position whatever the prompt's length. Attention inside an image goes both ways, and each
question attends to the image and to itself alone. Patches of an image also carry a learned embedding of their
position on the grid; everything else is stock :class:`transformers.LlamaForCausalLM`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from silmm_plugins.models._shared.sequences import SequenceModel, causal
from silmm_plugins.models.tiny.vocabulary import Vocabulary

SPLIT = 32
"""Rotary position of the first token behind the prompt, which has at most so many tokens."""


class TinyLM(SequenceModel, nn.Module):
    """Stock Llama with grid embeddings, on ids and vectors."""

    def __init__(
        self, vocabulary: Vocabulary, hidden: int, layers: int, heads: int, mlp: int, codes: int = 0
    ) -> None:
        """Build with random weights; `codes` image codes follow the words in the vocabulary."""
        super().__init__()
        self.vocabulary = vocabulary
        self.image_length = vocabulary.image_length
        config = LlamaConfig(
            vocab_size=len(vocabulary) + codes,
            hidden_size=hidden,
            intermediate_size=mlp,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            rms_norm_eps=1e-5,
            bos_token_id=vocabulary.bos,
            eos_token_id=vocabulary.eos,
            pad_token_id=vocabulary.pad,
            # At these sizes plain matrix products beat the fused attention's backward pass on a CPU.
            attn_implementation="eager",
        )
        self.backbone = LlamaForCausalLM(config)
        self.places = nn.Parameter(torch.randn(self.image_length, hidden) * 0.02)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.places.device

    @property
    def text_config(self) -> Any:
        """The configuration of the transformer."""
        return self.backbone.config

    def embed(self, ids: Tensor) -> Tensor:
        """Return input embeddings (batch, time, hidden)."""
        base: Any = self.backbone
        vectors: Tensor = base.get_input_embeddings()(ids)
        return vectors

    def hidden(
        self,
        vectors: Tensor,
        mask: Tensor,
        positions: Tensor,
        cache: Any = None,
        *,
        every_layer: bool = False,
    ) -> Any:
        """Run the decoder stack; `mask` is boolean (batch, time, keys), true where attention is allowed."""
        base: Any = self.backbone
        bias = torch.zeros_like(mask, dtype=vectors.dtype).masked_fill(~mask, -1e4)
        return base.model(
            inputs_embeds=vectors,
            attention_mask=bias[:, None],
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
            output_hidden_states=every_layer,
            output_attentions=every_layer,
        )

    def run(self, vectors: Tensor, allowed: Tensor | None, positions: Tensor, cache: Any = None) -> Tensor:
        """Return the final hidden states, (batch, time, hidden)."""
        if allowed is None:
            allowed = causal(torch.ones(vectors.shape[:2], dtype=torch.bool, device=vectors.device))
        states: Tensor = self.hidden(vectors, allowed, positions, cache).last_hidden_state
        return states

    def logits(self, states: Tensor) -> Tensor:
        """Return float32 logits over control tokens and words, (…, words), from final hidden states."""
        return self.logits_between(states, 0, len(self.vocabulary))

    def logits_between(self, states: Tensor, first: int, last: int) -> Tensor:
        """Return float32 logits of the vocabulary slice [first, last) from final hidden states."""
        base: Any = self.backbone
        weight: Tensor = base.get_output_embeddings().weight[first:last]
        return (states @ weight.to(states.dtype).T).float()

    # -- texts ---------------------------------------------------------------------------------------

    def pad_left(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
        """Return embeddings, validity and positions of prompts with the first token behind them, at SPLIT."""
        ids, valid, positions = self.prompt_inputs(rows, SPLIT + 1)
        return self.embed(ids), valid, positions

    def prompt_inputs(
        self, prompts: Sequence[Sequence[int]], end: int = SPLIT
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return ids, validity and positions (batch, longest) of prompts that end before the position `end`.

        Raises:
            ValueError: a prompt does not fit.
        """
        longest = max(len(p) for p in prompts)
        if longest > end:
            raise ValueError(f"a prompt has {longest} tokens; this model reads at most {end}")
        ids = torch.full((len(prompts), longest), self.vocabulary.pad)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        device = self.places.device
        ids = ids.to(device)
        positions = torch.arange(end - longest, end, device=device).expand(len(prompts), -1)
        return ids, ids != self.vocabulary.pad, positions

    def text_logits(
        self, requests: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
    ) -> tuple[Tensor, Tensor]:
        """Return logits (batch, longest, words) of the answers, teacher forced, and targets (-1: padding)."""
        ids, valid, positions = self.prompt_inputs(requests)
        longest = max(len(a) for a in answers)
        inputs = torch.full((len(answers), longest), self.vocabulary.pad)
        targets = torch.full((len(answers), longest), -1)
        for row, answer in enumerate(answers):
            inputs[row, : len(answer)] = torch.tensor([self.vocabulary.sep, *answer[:-1]])
            targets[row, : len(answer)] = torch.tensor(answer)
        inputs, targets = inputs.to(ids.device), targets.to(ids.device)
        after = torch.arange(SPLIT, SPLIT + longest, device=ids.device).expand(len(answers), -1)
        keys = torch.cat([valid, inputs != self.vocabulary.pad], 1)
        out = self.hidden(
            self.embed(torch.cat([ids, inputs], 1)), causal(keys), torch.cat([positions, after], 1)
        )
        return self.logits(out.last_hidden_state[:, -longest:]), targets

    # -- images and questions ----------------------------------------------------------------------

    def encode_images(self, patches: Tensor, *, every_layer: bool = False) -> tuple[Any, Any]:
        """Read images as patch vectors (batch, image_length, hidden); return the cache and the outputs.

        An image has the positions of a sampled one, <boi> at SPLIT, and attention goes both ways in it.
        """
        batch, device = patches.shape[0], patches.device
        ends = torch.tensor([[self.vocabulary.boi], [self.vocabulary.eoi]], device=device)
        vectors = torch.cat(
            [
                self.embed(ends[:1].expand(batch, -1)),
                patches,
                self.embed(ends[1:].expand(batch, -1)),
            ],
            1,
        )
        length = self.image_length + 2
        mask = torch.ones(batch, length, length, dtype=torch.bool, device=device)
        positions = torch.arange(SPLIT, SPLIT + length, device=device).expand(batch, -1)
        cache = DynamicCache(config=self.backbone.config)
        return cache, self.hidden(vectors, mask, positions, cache, every_layer=every_layer)

    def question_outputs(
        self,
        cache: Any,
        owner: Tensor,
        questions: Sequence[Sequence[int]],
        *,
        every_layer: bool = False,
    ) -> tuple[Any, Tensor]:
        """Run questions (token ids, <ask> first) behind their images; question i is about image owner[i].

        Returns the outputs and the index of each question's last token. The cache stays as it is.
        """
        device = self.places.device
        longest = max(len(q) for q in questions)
        ids = torch.full((len(questions), longest), self.vocabulary.pad)
        for row, question in enumerate(questions):
            ids[row, : len(question)] = torch.tensor(question)
        ids = ids.to(device)
        last = torch.tensor([len(q) - 1 for q in questions], device=device)
        own = DynamicCache(config=self.backbone.config)
        for layer, (keys, values) in enumerate(_layers(cache)):
            own.update(_spread(keys, owner), _spread(values, owner), layer)
        start = self.image_length + 2
        mask = causal(torch.ones(len(questions), start + longest, dtype=torch.bool, device=device))
        positions = torch.arange(SPLIT + start, SPLIT + start + longest, device=device)
        out = self.hidden(
            self.embed(ids),
            mask[:, start:],
            positions.expand(len(questions), -1),
            own,
            every_layer=every_layer,
        )
        return out, last


def _spread(x: Tensor, owner: Tensor) -> Tensor:
    """Return x[owner]; where every row has as many owners, expanding is far cheaper to differentiate."""
    each, rest = divmod(len(owner), len(x))
    if rest == 0 and torch.equal(
        owner, torch.arange(len(x), device=owner.device).repeat_interleave(each)
    ):
        return x[:, None].expand(-1, each, *x.shape[1:]).flatten(0, 1)
    return x[owner]


def _layers(cache: Any) -> list[tuple[Tensor, Tensor]]:
    """Return the (keys, values) of each layer of a transformers cache."""
    return [(layer.keys, layer.values) for layer in cache.layers]
