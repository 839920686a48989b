"""The feature pyramid p3 to p7 on a backbone (docs/spec/unidet.md 5)."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from silmm_benchmarks.judges.unidet.architecture import Architecture
from silmm_benchmarks.judges.unidet.backbones import Conv, Norm, ResNeSt, build_resnet


class TopBlock(nn.Module):
    """The two coarsest levels, made of p5."""

    def __init__(self, channels: int) -> None:
        """Keep the number of channels."""
        super().__init__()
        self.p6 = Conv(channels, channels, 3, 2)
        self.p7 = Conv(channels, channels, 3, 2)

    def forward(self, p5: Tensor) -> list[Tensor]:
        """Return p6, not activated, and p7."""
        p6 = self.p6(p5)
        return [p6, self.p7(F.relu(p6))]


class Pyramid(nn.Module):
    """Backbone, lateral and output convolutions, top block."""

    def __init__(self, architecture: Architecture) -> None:
        """Build the backbone that the architecture names."""
        super().__init__()
        attention = architecture.split_attention
        self.bottom_up = ResNeSt(architecture) if attention else build_resnet(architecture)

        def conv(channels: int, kernel: int) -> Conv:
            norm = Norm(architecture.fpn, counted=True) if attention else None
            return Conv(channels, architecture.fpn, kernel, norm=norm)

        res3, res4, res5 = (architecture.out * factor for factor in (2, 4, 8))
        self.fpn_lateral3, self.fpn_output3 = conv(res3, 1), conv(architecture.fpn, 3)
        self.fpn_lateral4, self.fpn_output4 = conv(res4, 1), conv(architecture.fpn, 3)
        self.fpn_lateral5, self.fpn_output5 = conv(res5, 1), conv(architecture.fpn, 3)
        self.top_block = TopBlock(architecture.fpn)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W), both sides multiples of 32 -> p3, p4, p5, p6, p7 at strides 8 to 128."""
        return self.levels(self.bottom_up(x))

    def levels(self, stages: list[Tensor]) -> list[Tensor]:
        """Return p3 to p7 of res3, res4, res5."""
        res3, res4, res5 = stages
        t5 = self.fpn_lateral5(res5)
        t4 = self.fpn_lateral4(res4) + _twice(t5)
        t3 = self.fpn_lateral3(res3) + _twice(t4)
        p5 = self.fpn_output5(t5)
        return [self.fpn_output3(t3), self.fpn_output4(t4), p5, *cast("list[Tensor]", self.top_block(p5))]


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
