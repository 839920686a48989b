"""Weights and images by name: the recipe on which the outputs of the original code were recorded."""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from silmm_benchmarks.judges.unidet.architecture import R50, RS200, Architecture
from silmm_benchmarks.judges.unidet.network import UniDet

TINY_R50 = replace(R50, stem=8, inner=8, out=32, fpn=32, fc=64)
TINY_RS50 = replace(RS200, blocks=(3, 4, 6, 3), stem=32, inner=16, out=64, fpn=32, fc=64)
GAINS = {"conv3": 0.3, "objectness_logits": 1.0, "anchor_deltas": 0.1, "bbox_pred": 0.5}


def hash24(name: str, count: int) -> np.ndarray:
    """Return `count` integers in [0, 2^24) that belong to a name (splitmix64 of its CRC-32 and place)."""
    z = np.arange(count, dtype=np.uint64) + np.uint64((zlib.crc32(name.encode()) << 32) % 2**64)
    z += np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(40)).astype(np.int64)


def unit(name: str, shape: Sequence[int]) -> np.ndarray:
    """Return float32 in [-1, 1) that belong to a name."""
    numbers = (hash24(name, math.prod(shape)) - 2**23).astype(np.float32)
    return (numbers / np.float32(2**23)).reshape(shape)


def _gain(owner: str, stem_gain: float, cls_gain: float) -> float:
    last = owner.rpartition(".")[2]
    if owner.endswith(("stem.conv1", "stem.conv1_1")):
        return stem_gain
    if last == "cls_score":
        return cls_gain
    if last.startswith("fpn_"):
        return 1.0
    if last == "conv3" and ".bottom_up." not in owner:
        return 1.4142135
    return GAINS.get(last, 1.4142135)


def weights(
    shapes: Mapping[str, Sequence[int]], stem_gain: float = 1, cls_gain: float = 1, cls_bias: float = 0
) -> dict[str, torch.Tensor]:
    """Return a state dict of these shapes."""
    unity = np.float32(1)
    values: dict[str, torch.Tensor] = {}
    for name, shape in shapes.items():
        owner, _, part = name.rpartition(".")
        if part == "num_batches_tracked":
            values[name] = torch.zeros((), dtype=torch.int64)
            continue
        u = unit(name, shape)
        if part == "running_var":
            u = unity + np.float32(0.25) * u
        elif f"{owner}.running_var" in shapes and part == "weight":
            u = unity + np.float32(0.1) * u
        elif part == "bias" and owner.endswith("cls_score"):
            u = np.float32(cls_bias) + np.float32(0.5) * u
        elif part in ("bias", "running_mean"):
            u = np.float32(0.1) * u
        else:
            u = u * np.float32(_gain(owner, stem_gain, cls_gain) * math.sqrt(3 / math.prod(shape[1:])))
        values[name] = torch.from_numpy(np.asarray(u, dtype=np.float32))
    return values


def network(architecture: Architecture, **recipe: float) -> UniDet:
    """Return a network with the recipe's weights."""
    with torch.device("meta"):
        model = UniDet(architecture)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(weights(shapes, **recipe), assign=True)
    return model


def image(tag: str, height: int, width: int) -> np.ndarray:
    """Return an image with ramps, eight rectangles and noise, uint8 (height, width, 3)."""
    y, x = np.mgrid[:height, :width]
    ramps = [(3 * x * (c + 1) + 2 * y * (3 - c) + 50 * c) // 4 % 256 for c in range(3)]
    image = np.stack(ramps, axis=-1)
    for sampled in hash24(f"{tag}/rect", 56).reshape(8, 7):
        left, top = sampled[0] % width, sampled[1] % height
        right, bottom = left + sampled[2] % (width // 2) + 4, top + sampled[3] % (height // 2) + 4
        image[top:bottom, left:right] = sampled[4:] % 256
    noise = hash24(f"{tag}/noise", height * width * 3).reshape(height, width, 3) % 33 - 16
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def tensor(image: np.ndarray) -> torch.Tensor:
    """Return (height, width, 3) as float (3, height, width)."""
    return torch.from_numpy(image).permute(2, 0, 1).float()
