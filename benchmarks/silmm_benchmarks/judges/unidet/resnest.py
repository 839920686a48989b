"""ResNeSt-200 as UniDet's backbone: split attention with radix 2 (docs/spec/unidet.md 4)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from silmm_benchmarks.judges.unidet.architecture import Architecture
from silmm_benchmarks.judges.unidet.layers import Conv, Norm
from silmm_benchmarks.judges.unidet.resnet import ResNet, frozen, pool

RADIX = 2
LEAST_HIDDEN = 32


class DeepStem(nn.Module):
    """Three 3x3 convolutions, the first at stride 2, and max-pool at stride 2."""

    def __init__(self, width: int) -> None:
        """Give 2 * width channels."""
        super().__init__()
        self.conv1_1 = Conv(3, width, 3, 2, norm=frozen(width))
        self.conv1_2 = Conv(width, width, 3, norm=frozen(width))
        self.conv1_3 = Conv(width, 2 * width, 3, norm=frozen(2 * width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 2 * width, H/4, W/4)."""
        for conv in (self.conv1_1, self.conv1_2, self.conv1_3):
            x = F.relu(conv(x))
        return pool(x)


class SplitAttention(nn.Module):
    """Two grouped maps of the input, mixed channel by channel by what the whole image holds."""

    def __init__(self, channels: int, *, counted: bool) -> None:
        """Keep the number of channels."""
        super().__init__()
        hidden = max(channels * RADIX // 4, LEAST_HIDDEN)
        both = RADIX * channels
        self.conv = nn.Conv2d(channels, both, 3, padding=1, groups=RADIX, bias=False)
        self.bn0 = Norm(both, counted=counted)
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.bn1 = Norm(hidden, counted=counted)
        self.fc2 = nn.Conv2d(hidden, both, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), not negative."""
        batch, channels, height, width = x.shape
        maps = F.relu(self.bn0(self.conv(x))).reshape(batch, RADIX, channels, height, width)
        whole = maps.sum(1).mean((2, 3), keepdim=True)  # (B, C, 1, 1); the zero border takes part
        scores = self.fc2(F.relu(self.bn1(self.fc1(whole))))  # (B, 2C, 1, 1)
        shares: Tensor = scores.reshape(batch, RADIX, channels, 1, 1).softmax(1)
        return (shares * maps).sum(1)


class AttentionBlock(nn.Module):
    """1x1, split attention, 1x1 with a shortcut; both ways are averaged down where the stride is 2."""

    def __init__(self, channels: int, inner: int, out: int, stride: int, *, counted: bool) -> None:
        """Project the shortcut where the width changes: in the first block of a stage."""
        super().__init__()
        self.stride = stride
        norm = Norm(out, counted=counted)
        self.shortcut = Conv(channels, out, 1, norm=norm) if channels != out else nn.Identity()
        self.conv1 = Conv(channels, inner, 1, norm=Norm(inner, counted=counted))
        self.conv2 = SplitAttention(inner, counted=counted)
        self.conv3 = Conv(inner, out, 1, norm=Norm(out, counted=counted))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, out, H/stride, W/stride), rounded up."""
        y = self.conv2(F.relu(self.conv1(x)))
        if self.stride > 1:
            y = F.avg_pool2d(y, 3, self.stride, padding=1)
            x = F.avg_pool2d(x, self.stride, self.stride, ceil_mode=True, count_include_pad=False)
        return F.relu(self.conv3(y) + self.shortcut(x))


class ResNeSt(ResNet):
    """ResNeSt; the norms of stem and res2 are frozen, the others have counters."""

    def __init__(self, architecture: Architecture) -> None:
        """Build stem and stages."""
        narrow = architecture.inner

        def block(channels: int, inner: int, out: int, stride: int) -> AttentionBlock:
            return AttentionBlock(channels, inner, out, stride, counted=inner > narrow)

        super().__init__(DeepStem(architecture.stem), 2 * architecture.stem, architecture, block)
