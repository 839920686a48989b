"""Convolutions that carry their norm, with the parameter names of the official files."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
        """Start as the identity, but for eps."""
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
