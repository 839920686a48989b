"""The language model of `tiny-continuous`: :class:`TinyLM` with a patch encoder and learnable queries.

Images come in as one vector per patch from a small MLP. Samples go out as features: sequences
``<bos> <sample> words | query_1 … query_L``, whose final hidden states behind the queries, after the final
norm, are H (DreamLLM's "dream queries", docs/spec/base-models.md 1.1).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from silmm_plugins.models._shared.sequences import causal
from silmm_plugins.models.tiny.language_model import SPLIT, TinyLM
from silmm_plugins.models.tiny.model import PATCH
from silmm_plugins.models.tiny.vocabulary import Vocabulary


class TinyContinuousLM(TinyLM):
    """A tiny language model that reads pixels and computes features H of shape (queries, hidden)."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        hidden: int,
        layers: int,
        heads: int,
        mlp: int,
        *,
        queries: int,
        patch_mlp: int,
    ) -> None:
        """Build with random weights."""
        super().__init__(vocabulary, hidden, layers, heads, mlp)
        self.patch_encoder = nn.Sequential(
            nn.Linear(3 * PATCH * PATCH, patch_mlp), nn.GELU(), nn.Linear(patch_mlp, hidden)
        )
        self.queries = nn.Parameter(torch.randn(queries, hidden) * 0.02)

    def patches(self, pixels: Tensor) -> Tensor:
        """Return the patch vectors (N, image_length, hidden) of images (N, 3, H, W) in [0, 1]."""
        patches = F.unfold(pixels, PATCH, stride=PATCH).transpose(1, 2)
        vectors: Tensor = self.patch_encoder(patches) + self.places
        return vectors

    def features(self, prompts: Sequence[Sequence[int]], query_offsets: Tensor | None = None) -> Tensor:
        """Return H of shape (batch, queries, hidden).

        Args:
            prompts: token ids.
            query_offsets: added to the query embeddings, (batch, queries, hidden); None adds nothing.
        """
        ids, valid, positions = self.prompt_inputs(prompts)
        batch, length = len(prompts), len(self.queries)
        queries = self.queries.expand(batch, -1, -1)
        if query_offsets is not None:
            queries = queries + query_offsets
        keys = torch.cat([valid, valid.new_ones(batch, length)], 1)
        after = torch.arange(SPLIT, SPLIT + length, device=ids.device).expand(batch, -1)
        states = self.run(torch.cat([self.embed(ids), queries], 1), causal(keys), torch.cat([positions, after], 1))
        return states[:, -length:]
