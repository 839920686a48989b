"""A Qwen2.5-VL model on ids and images: features, answers about images, and text.

Stock classes. Every sequence has the positions that it would have alone: rows are padded on the left under a
mask with their own position ids. Positions are those of M-RoPE: three equal ones for words, and time, row and
column for images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from silmm.checkpoint.devices import device_of
from silmm_plugins.models._shared.sequences import SequenceModel, causal
from silmm_plugins.models._shared.vqa import ImagePrefix


class QwenLM(SequenceModel):
    """The text half of the vision-language model, and its way to see."""

    def __init__(self, backbone: nn.Module) -> None:
        """Wrap the whole vision-language model."""
        self.backbone = backbone
        self._whole: Any = backbone

    @property
    def device(self) -> torch.device:
        """Where the language model takes what it reads."""
        return device_of(self.backbone)

    @property
    def text_config(self) -> Any:
        """The configuration of the text half."""
        return self._whole.config.get_text_config()

    def embed(self, ids: Tensor) -> Tensor:
        """Return input embeddings (batch, time, D)."""
        vectors: Tensor = self._whole.get_input_embeddings()(ids.to(self.device))
        return vectors

    def run(self, vectors: Tensor, allowed: Tensor | None, positions: Tensor, cache: Any = None) -> Tensor:
        """Return the hidden states after the final norm, (batch, time, D).

        `positions` is (batch, time), or (3, batch, time) with an image.
        """
        out = self._whole.model.language_model(
            inputs_embeds=vectors,
            attention_mask=None if allowed is None else allowed[:, None],
            position_ids=positions if positions.dim() == 3 else positions.expand(3, -1, -1),
            past_key_values=cache,
            use_cache=cache is not None,
        )
        states: Tensor = out.last_hidden_state
        return states

    def logits(self, states: Tensor) -> Tensor:
        """Return float32 logits of the whole vocabulary."""
        logits: Tensor = self._whole.lm_head(states)
        return logits.float()

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

    def image_prefix(self, before: Sequence[int], image: int, pixels: Tensor, grid: Tensor) -> ImagePrefix:
        """Read one image; its keys and values serve all questions.

        Args:
            before: ids up to the questions, with a placeholder for each token of the image.
            image: the id of the placeholders.
            pixels: patches as Qwen's image processor gives them.
            grid: (1, 3) patches in time, height and width.
        """
        outputs = self._whole.model.get_image_features(pixels.to(self.device), grid.to(self.device))
        features = getattr(outputs, "pooler_output", outputs)[0]
        ids = torch.tensor([before])
        vectors = self.embed(ids).clone()
        placeholders = (ids[0] == image).nonzero().flatten()
        vectors[0, placeholders] = features.to(vectors)
        return ImagePrefix(self, vectors, self._image_positions(len(before), placeholders, grid))

    def _image_positions(self, length: int, placeholders: Tensor, grid: Tensor) -> Tensor:
        """Return (3, 1, length): words count on, an image's tokens have their rows and columns."""
        merge = int(self._whole.config.vision_config.spatial_merge_size)
        rows, columns = int(grid[0, 1]) // merge, int(grid[0, 2]) // merge
        first, count = int(placeholders[0]), len(placeholders)
        positions = torch.arange(length).repeat(3, 1)
        inside = torch.arange(count)
        positions[:, first : first + count] = first + torch.stack(
            [torch.zeros_like(inside), inside // columns, inside % columns]
        )
        behind = torch.arange(length - first - count)
        positions[:, first + count :] = first + max(rows, columns) + behind
        return positions[:, None].to(self.device)
