"""UniDet's backbones ResNet-50 and ResNeSt-200, with the official parameter names (docs/spec/unidet.md 3, 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from silmm_benchmarks.judges.unidet.architecture import Architecture

EPS = 1e-5


class Norm(nn.Module):
    """Batch norm by stored statistics; nothing of it is ever trained here.

    `counted` norms (SyncBN of the official network) store a counter too; frozen ones do not.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, *, counted: bool) -> None:
        """Start as the identity, except for eps."""
        super().__init__()
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        if counted:
            self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        """Return (x - mean) / sqrt(var + 1e-5) * weight + bias by channel."""
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=EPS)


class Conv(nn.Conv2d):
    """A convolution with its norm under the name `norm`; without a norm it has a bias."""

    def __init__(
        self, channels: int, out: int, kernel: int, stride: int = 1, *, norm: Norm | None = None
    ) -> None:
        """Pad such that stride 1 keeps the size."""
        super().__init__(channels, out, kernel, stride, padding=kernel // 2, bias=norm is None)
        self.norm = norm

    def forward(self, input: Tensor) -> Tensor:
        """Convolve, then normalise."""
        x = super().forward(input)
        return x if self.norm is None else cast(Tensor, self.norm(x))


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


def build_resnet(architecture: Architecture) -> ResNet:
    """Return the R50 backbone; all its norms are frozen."""
    return ResNet(Stem(architecture.stem), architecture.stem, architecture, Bottleneck)


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
