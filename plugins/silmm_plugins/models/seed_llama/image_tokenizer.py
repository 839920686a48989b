"""SEED tokenizer 2: an image to 32 codes, and codes to the CLIP embedding that unCLIP samples from."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import PIL.Image
import torch
from torch import Tensor, nn

from silmm.contracts.models import Image
from silmm_plugins.models.seed_llama.image_encoder import Block, VisionTransformer
from silmm_plugins.models.seed_llama.qformer import QFormer
from silmm_plugins.models.seed_llama.sizes import Sizes

_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's."""
_VISION_EPS = 1e-5


class SeedImageTokenizer(nn.Module):
    """Image encoder, causal Q-Former, codebook and decoder (docs/spec/base-models.md 2.3).

    Attributes carry the names of the published weights.
    """

    def __init__(self, sizes: Sizes) -> None:
        """Make the network with the sizes of a checkpoint."""
        super().__init__()
        width, vision = sizes.width, sizes.vision
        self.visual_encoder = VisionTransformer(
            width=vision.width, depth=vision.depth, heads=vision.heads, hidden=vision.hidden,
            patch=vision.patch, grid=vision.grid,
        )
        self.ln_vision = nn.LayerNorm(vision.width, eps=_VISION_EPS)
        self.query_tokens = nn.Parameter(torch.zeros(1, sizes.length, width))
        self.Qformer = QFormer(
            sizes.layers, width=width, keys=vision.width, heads=sizes.heads, hidden=sizes.hidden
        )
        self.encode_task_layer = nn.Sequential(
            nn.Linear(width, width), nn.Tanh(), nn.Linear(width, sizes.code)
        )
        self.quantize = nn.ModuleDict({"embedding": nn.Embedding(sizes.codes, sizes.code)})
        self.decode_task_layer = nn.Sequential(
            nn.Linear(sizes.code, sizes.code), nn.Tanh(), nn.Linear(sizes.code, width)
        )
        self.pos_embed_image = nn.Parameter(torch.zeros(1, sizes.length, width))
        self.blocks_image = nn.Sequential(
            *(Block(width, sizes.heads, sizes.block_hidden) for _ in range(sizes.blocks))
        )
        down = [width, *sizes.down]
        maps: list[nn.Module] = []
        for given, wanted in pairwise(down):
            maps += [nn.Linear(given, wanted, bias=False), nn.ReLU()]
        self.image_down = nn.Sequential(*maps[:-1])
        self.distill_image_proj = nn.Linear(sizes.length * down[-1], sizes.embedding)

    @property
    def length(self) -> int:
        """Codes of one image: 32."""
        return self.query_tokens.shape[1]

    @property
    def codes(self) -> int:
        """Size of the codebook."""
        return len(self._codebook)

    @property
    def _codebook(self) -> Tensor:
        weight = self.quantize["embedding"].weight
        assert isinstance(weight, Tensor)  # noqa: S101 - an embedding has one
        return weight

    def pixels(self, images: Sequence[Image]) -> Tensor:
        """Return normalised pixels (batch, 3, side, side): squeezed to a square, bilinear."""
        side = self.visual_encoder.side
        resized = [
            np.asarray(PIL.Image.fromarray(image).resize((side, side), PIL.Image.Resampling.BILINEAR))
            for image in images
        ]
        scaled = torch.from_numpy(np.stack(resized)).movedim(-1, 1).float() / 255
        mean, std = (torch.tensor(values)[:, None, None] for values in (_MEAN, _STD))
        return ((scaled - mean) / std).to(self.query_tokens)

    def image_states(self, pixels: Tensor) -> Tensor:
        """Return the normed states of the image encoder, (batch, 1 + patches, width)."""
        states: Tensor = self.ln_vision(self.visual_encoder(pixels))
        return states

    def read(self, states: Tensor) -> Tensor:
        """Return what is quantised, (batch, 32, code width), from the states of :meth:`image_states`."""
        queries = self.Qformer(self.query_tokens.expand(len(states), -1, -1), states)
        out: Tensor = self.encode_task_layer(queries)
        return out

    def encode(self, pixels: Tensor) -> Tensor:
        """Return the codes (batch, 32): the nearest row of the codebook by squared distance."""
        read = self.read(self.image_states(pixels)).float()
        book = self._codebook.float()
        # |z - e|² without |z|², which is the same for all rows
        return (book.square().sum(1) - 2 * read @ book.T).argmin(-1)

    def embed(self, codes: Tensor) -> Tensor:
        """Return the CLIP image embeddings (batch, embedding) of codes (batch, 32)."""
        x = self.decode_task_layer(self._codebook[codes]) + self.pos_embed_image
        out: Tensor = self.distill_image_proj(self.image_down(self.blocks_image(x)).flatten(1))
        return out
