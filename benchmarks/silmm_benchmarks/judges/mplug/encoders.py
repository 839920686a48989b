"""The fusion encoder of mPLUG: questions read the image, and now and then both read each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from silmm_benchmarks.judges.mplug.bert import Attention, Embeddings, FeedForward, allowed
from silmm_benchmarks.judges.mplug.config import BertSizes


class TextLayer(FeedForward):
    """Self-attention and feed-forward."""

    def __init__(self, sizes: BertSizes) -> None:
        """Make the layer."""
        super().__init__(sizes)
        self.attention = Attention(sizes)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Map states (batch, length, hidden) to the next."""
        return self.feed_forward(self.attention(states, mask))


class TextEncoder(nn.Module):
    """Encodes questions (state dict: text_encoder)."""

    def __init__(self, sizes: BertSizes) -> None:
        """Make embeddings and layers."""
        super().__init__()
        self.embeddings = Embeddings(sizes)
        layers = nn.ModuleList(TextLayer(sizes) for _ in range(sizes.text_encoder_layers))
        self.encoder = nn.ModuleDict({"layer": layers})

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Map tokens and mask, both (questions, length), to states (questions, length, hidden)."""
        states: Tensor = self.embeddings(tokens)
        for layer in self.encoder["layer"].children():
            states = layer(states, allowed(mask))
        return states


class ReadingLayer(FeedForward):
    """Questions attend to themselves, then to the image, whose states stay as they are."""

    def __init__(self, sizes: BertSizes) -> None:
        """Make the layer."""
        super().__init__(sizes)
        self.attention = Attention(sizes)
        self.crossattention = Attention(sizes)

    def forward(self, image: Tensor, questions: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the image's states and the questions' next; one image (1, n, hidden) serves all."""
        own = self.attention(questions, allowed(mask))
        # The tokens of all questions read a shared image as one row: its keys are made once.
        rows = own.reshape(len(image), -1, own.shape[-1])
        read = self.crossattention(rows, others=image).reshape(own.shape)
        return image, self.feed_forward(read)


class JoiningLayer(FeedForward):
    """Image and question attend to both; the image's result is added to what it was (skip connection)."""

    def __init__(self, sizes: BertSizes) -> None:
        """Make the layer."""
        super().__init__(sizes)
        self.attention = Attention(sizes)

    def forward(self, image: Tensor, questions: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return an image for each question (questions, n, hidden) and the questions' next states."""
        image = image.expand(len(questions), -1, -1)
        n_image_states, length = image.shape[1], questions.shape[1]
        mask = torch.cat([mask.new_ones(len(mask), n_image_states), mask], dim=1)
        joint = self.attention(torch.cat([image, questions], dim=1), allowed(mask))
        change, questions = torch.split(self.feed_forward(joint), [n_image_states, length], dim=1)
        return image + change, questions


class FusionEncoder(nn.Module):
    """Fuses one image with questions about it (state dict: fusion_encoder)."""

    def __init__(self, sizes: BertSizes) -> None:
        """Make the layers that fuse, under the file's numbers; those before them are never used."""
        super().__init__()
        first = sizes.first_fusion_layer
        kinds = {
            str(number): JoiningLayer if _joins(number - first, sizes.stride_layer) else ReadingLayer
            for number in range(first, sizes.num_hidden_layers)
        }
        layers = nn.ModuleDict({number: kind(sizes) for number, kind in kinds.items()})
        self.encoder = nn.ModuleDict({"layer": layers})

    def forward(self, image: Tensor, questions: Tensor, mask: Tensor) -> Tensor:
        """Return what the decoder reads, (questions, n + length, hidden): the image, then the question.

        Args:
            image: States of one image for all questions (1, n, hidden), or of one for each. Not changed.
            questions: States of the questions (questions, length, hidden).
            mask: Ones at their tokens, zeros at the padding (questions, length).
        """
        for layer in self.encoder["layer"].children():
            image, questions = layer(image, questions, mask)
        return torch.cat([image.expand(len(questions), -1, -1), questions], dim=1)


def _joins(layer: int, stride: int) -> bool:
    return layer > 0 and layer % stride == 0
