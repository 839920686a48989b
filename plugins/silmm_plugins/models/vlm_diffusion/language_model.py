"""A Qwen2.5-VL model on ids and images: features, answers about images, and text.

Stock classes. Every sequence has the positions that it would have alone: rows are padded on the left under a
mask with their own position ids. Positions are those of M-RoPE: three equal ones for words, and time, row and
column for images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache

from silmm.checkpoint.devices import device_of
from silmm_plugins.models._shared.left_padding import LeftPadded, causal


class LanguageModel(LeftPadded):
    """The text half of the vision-language model, and its way to see."""

    def __init__(self, backbone: nn.Module) -> None:
        """Wrap the whole vision-language model."""
        self.backbone = backbone
        self._whole: Any = backbone

    @property
    def device(self) -> torch.device:
        """Where the language model takes what it reads."""
        return device_of(self.backbone)

    def embed(self, ids: Tensor) -> Tensor:
        """Return input embeddings (batch, time, D)."""
        vectors: Tensor = self._whole.get_input_embeddings()(ids.to(self.device))
        return vectors

    def run(self, vectors: Tensor, allowed: Tensor, positions: Tensor, cache: Any = None) -> Tensor:
        """Return the hidden states after the final norm, (batch, time, D).

        Args:
            vectors: (batch, time, D).
            allowed: boolean (batch, time, keys), true where attention goes.
            positions: (batch, time), or (3, batch, time) with an image.
            cache: keys and values of what came before; it grows.
        """
        out = self._whole.model.language_model(
            inputs_embeds=vectors,
            attention_mask=allowed[:, None],
            position_ids=positions if positions.dim() == 3 else positions.expand(3, -1, -1),
            past_key_values=cache,
            use_cache=cache is not None,
        )
        states: Tensor = out.last_hidden_state
        return states

    def logits(self, states: Tensor) -> Tensor:
        """Return float32 logits of the whole vocabulary."""
        found: Tensor = self._whole.lm_head(states)
        return found.float()

    def new_cache(self) -> DynamicCache:
        """Return an empty cache of keys and values."""
        return DynamicCache(config=self._whole.config.get_text_config())

    def states(self, rows: Sequence[Sequence[int]], skip: int, length: int) -> Tensor:
        """Return (batch, length, D): each row's final states without its first `skip`, zeros in front."""
        vectors, valid, positions = self.pad_left(rows)
        states = self.run(vectors, causal(valid), positions)
        kept = valid & (positions >= skip)
        states = torch.where(kept[:, :, None], states, torch.zeros_like(states))
        time = states.shape[1]
        if time >= length:
            return states[:, time - length :]
        return torch.cat([states.new_zeros(len(rows), length - time, states.shape[2]), states], 1)

    def answers(
        self,
        before: Sequence[int],
        image: int,
        pixels: Tensor,
        grid: Tensor,
        questions: Sequence[Sequence[int]],
    ) -> Tensor:
        """Return the logits (n_questions, vocabulary) behind each question about one image, read once.

        All questions stand behind the image in one row; each sees the image and itself alone and has
        the positions that it would have by itself.

        Args:
            before: ids up to the questions, the image's places among them.
            image: the id of the image's places.
            pixels: patches as Qwen's image processor gives them.
            grid: (1, 3) patches in time, height and width.
            questions: ids; one at least.
        """
        seen = self._whole.model.get_image_features(pixels.to(self.device), grid.to(self.device))
        features = getattr(seen, "pooler_output", seen)[0]
        ids = torch.tensor([before])
        vectors = self.embed(ids).clone()
        places = (ids[0] == image).nonzero().flatten()
        vectors[0, places] = features.to(vectors)
        positions = self._image_positions(len(before), places, grid)
        start = vectors.shape[1]
        cache = DynamicCache(config=self._whole.config.get_text_config())
        everything = torch.ones(1, start, dtype=torch.bool, device=self.device)
        self.run(vectors, causal(everything), positions, cache)

        after = int(positions.max()) + 1
        flat = torch.tensor([[token for one in questions for token in one]])
        owner = torch.tensor([number for number, one in enumerate(questions) for _ in one]).to(self.device)
        at = torch.tensor([[after + n for one in questions for n in range(len(one))]]).to(self.device)
        own = causal(torch.ones_like(flat, dtype=torch.bool).to(self.device)) & (owner[:, None] == owner)
        allowed = torch.cat([own.new_ones(1, flat.shape[1], start), own], 2)
        states = self.run(self.embed(flat), allowed, at, cache)
        ends = torch.from_numpy(np.cumsum([len(one) for one in questions]) - 1)
        return self.logits(states[0, ends.to(self.device)])

    def _image_positions(self, length: int, places: Tensor, grid: Tensor) -> Tensor:
        """Return (3, 1, length): words count on, an image's places have its rows and columns."""
        merge = int(self._whole.config.vision_config.spatial_merge_size)
        rows, columns = int(grid[0, 1]) // merge, int(grid[0, 2]) // merge
        first, count = int(places[0]), len(places)
        positions = torch.arange(length).repeat(3, 1)
        inside = torch.arange(count)
        positions[:, first : first + count] = first + torch.stack(
            [torch.zeros_like(inside), inside // columns, inside % columns]
        )
        behind = torch.arange(length - first - count)
        positions[:, first + count :] = first + max(rows, columns) + behind
        return positions[:, None].to(self.device)
