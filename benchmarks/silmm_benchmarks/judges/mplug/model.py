"""mPLUG for visual VQA accuracy: its five parts put together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from silmm_benchmarks.judges.mplug.beam import Hypothesis, beam_search
from silmm_benchmarks.judges.mplug.config import MPlugConfig
from silmm_benchmarks.judges.mplug.decoder import Decoder, Decoding
from silmm_benchmarks.judges.mplug.encoders import FusionEncoder, TextEncoder
from silmm_benchmarks.judges.mplug.visual import ImageTower


class MPlug(nn.Module):
    """Answers questions about images; its state dict has the published names."""

    def __init__(self, config: MPlugConfig) -> None:
        """Make the parts with uninitialised weights; a checkpoint fills them."""
        super().__init__()
        self.config = config
        sizes = config.bert
        self.visual_encoder = nn.ModuleDict({"visual": ImageTower(config)})
        self.projects = sizes.hidden_size != config.vision_width
        if self.projects:
            self.visn_fc = nn.Linear(config.vision_width, sizes.hidden_size)
            self.visn_layer_norm = nn.LayerNorm(sizes.hidden_size, eps=1e-12)
        self.text_encoder = TextEncoder(sizes)
        self.fusion_encoder = FusionEncoder(sizes)
        self.text_decoder = Decoder(sizes)

    @torch.inference_mode()
    def encode_images(self, pixels: Tensor) -> Tensor:
        """Map pixels (images, 3, side, side) to the states that questions read, (images, n, hidden)."""
        states: Tensor = self.visual_encoder["visual"](pixels)
        return self.visn_layer_norm(self.visn_fc(states)) if self.projects else states

    @torch.inference_mode()
    def fuse(self, image: Tensor, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the decoder reads (questions, n + length, hidden), and its mask without `hidden`.

        Args:
            image: States of one image (1, n, hidden); they are not changed.
            tokens: Token ids of questions about it (questions, length).
            mask: Ones at tokens, zeros at padding (questions, length).
        """
        fused: Tensor = self.fusion_encoder(image, self.text_encoder(tokens, mask), mask)
        return fused, torch.cat([mask.new_ones(len(mask), image.shape[1]), mask], dim=1)

    @torch.inference_mode()
    def answer(self, image: Tensor, tokens: Tensor, mask: Tensor) -> list[list[Hypothesis]]:
        """Return the ranked hypotheses of each question about one image; arguments as :meth:`fuse`.

        Raises:
            DataError: logits are not finite.
        """
        config = self.config
        decoding = Decoding(self.text_decoder, *self.fuse(image, tokens, mask))
        return beam_search(decoding, config.beam_size, config.max_length, config.min_length)
