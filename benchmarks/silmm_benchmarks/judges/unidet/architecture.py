"""The two networks as figures: what the official configuration files come down to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Colours = Literal["BGR", "RGB"]

CLASSES = 722
STRIDES = (8, 16, 32, 64, 128)
"""Pixels of the input for one cell of p3, p4, p5, p6, p7."""
ROI_LEVELS = 3
"""Boxes are pooled from p3, p4 and p5 alone."""
CASCADE_WEIGHTS = ((10.0, 10.0, 5.0, 5.0), (20.0, 20.0, 10.0, 10.0), (30.0, 30.0, 15.0, 15.0))
"""Divisors of (dx, dy, dw, dh) in the three stages."""
DIVISIBILITY = 32
"""Images are padded to a multiple of it."""


@dataclass(frozen=True)
class Architecture:
    """One UniDet network (docs/spec/unidet.md 1)."""

    name: str
    blocks: tuple[int, int, int, int]
    """Residual blocks of res2, res3, res4, res5."""
    split_attention: bool
    """ResNeSt with a deep stem, normalised FPN and a convolutional box head; else ResNet and two FC."""
    mean: tuple[float, float, float]
    """By position of the channel, in the order `trained_on`."""
    std: tuple[float, float, float]
    trained_on: Colours
    """Order of the channels that mean, std and the training took."""
    stem: int = 64
    inner: int = 64
    """Width of the 3x3 convolution in res2; it doubles with every stage."""
    out: int = 256
    """Channels after res2; they double with every stage."""
    fpn: int = 256
    fc: int = 1024


R50 = Architecture(
    name="unidet-r50",
    blocks=(3, 4, 6, 3),
    split_attention=False,
    mean=(103.53, 116.28, 123.675),
    std=(1.0, 1.0, 1.0),
    trained_on="BGR",
)
RS200 = Architecture(
    name="unidet-rs200",
    blocks=(3, 24, 36, 3),
    split_attention=True,
    mean=(123.68, 116.779, 103.939),
    std=(58.393, 57.12, 57.375),
    trained_on="RGB",
)
