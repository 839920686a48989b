"""ResNet-50 as UniDet's backbone (docs/spec/unidet.md 3)."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from silmm_benchmarks.judges.unidet.architecture import Architecture
from silmm_benchmarks.judges.unidet.layers import Conv, Norm

MakeBlock = Callable[[int, int, int, int], nn.Module]
"""(channels, inner, out, stride) -> block."""


def frozen(channels: int) -> Norm:
    """Return a norm without a counter."""
    return Norm(channels, counted=False)


class Stem(nn.Module):
    """7x7 convolution at stride 2 and max-pool at stride 2."""

    def __init__(self, out: int) -> None:
        """Read three channels."""
        super().__init__()
        self.conv1 = Conv(3, out, 7, 2, norm=frozen(out))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, out, H/4, W/4)."""
        return pool(F.relu(self.conv1(x)))


def pool(x: Tensor) -> Tensor:
    """Max-pool 3x3 at stride 2."""
    return F.max_pool2d(x, 3, stride=2, padding=1)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with a shortcut; the stride is carried by the first 1x1."""

    def __init__(self, channels: int, inner: int, out: int, stride: int) -> None:
        """Project the shortcut where the width changes: in the first block of a stage."""
        super().__init__()
        projected = channels != out
        self.shortcut = Conv(channels, out, 1, stride, norm=frozen(out)) if projected else nn.Identity()
        self.conv1 = Conv(channels, inner, 1, stride, norm=frozen(inner))
        self.conv2 = Conv(inner, inner, 3, norm=frozen(inner))
        self.conv3 = Conv(inner, out, 1, norm=frozen(out))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, out, H/stride, W/stride)."""
        y = F.relu(self.conv1(x))
        y = F.relu(self.conv2(y))
        return F.relu(self.conv3(y) + self.shortcut(x))


class ResNet(nn.Module):
    """A stem and four stages; res3, res4, res5 at strides 8, 16, 32 are what the FPN reads."""

    def __init__(self, stem: nn.Module, channels: int, architecture: Architecture, block: MakeBlock) -> None:
        """Build the stages on `channels` that the stem gives."""
        super().__init__()
        self.stem = stem
        stages = []
        inner, out = architecture.inner, architecture.out
        for stage, count in enumerate(architecture.blocks):
            stride = 1 if stage == 0 else 2
            first = block(channels, inner, out, stride)
            stages.append(nn.Sequential(first, *(block(out, inner, out, 1) for _ in range(count - 1))))
            channels, inner, out = out, 2 * inner, 2 * out
        self.res2, self.res3, self.res4, self.res5 = stages

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> res3, res4, res5."""
        res3 = self.res3(self.res2(self.stem(x)))
        res4 = self.res4(res3)
        return [res3, res4, self.res5(res4)]


def build(architecture: Architecture) -> ResNet:
    """Return the R50 backbone; all its norms are frozen."""
    return ResNet(Stem(architecture.stem), architecture.stem, architecture, Bottleneck)
