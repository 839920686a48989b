"""UniDet's pooling of boxes by two matrices, beside what else one would write without a compiled operator.

All ways pool the same boxes of random maps of the benchmark's size, and agree before anything is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from silmm_benchmarks.judges.unidet.architecture import R50, STRIDES
from silmm_benchmarks.judges.unidet.cascade import CHUNK
from silmm_benchmarks.judges.unidet.pooling import BINS, levels_of, pool_boxes
from torch import Tensor

from benchmarks.perf import measure

SIDE = 480
BOXES = 1000
TOLERANCE = 1e-4
"""What ways may differ by, on maps of standard normal numbers."""
Pool = Callable[[list[Tensor], Tensor], Tensor]


def maps(channels: int = R50.fpn) -> list[Tensor]:
    """Return p3, p4 and p5 of random numbers, each (channels, height, width)."""
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(channels, SIDE // s, SIDE // s, generator=generator) for s in STRIDES[:3]]


def boxes(count: int = BOXES) -> Tensor:
    """Return boxes of all sizes inside the image, as proposals are, (count, 4)."""
    generator = torch.Generator().manual_seed(3)
    centre = torch.rand(count, 2, generator=generator) * SIDE
    half = torch.exp(torch.rand(count, 2, generator=generator) * 4 + 1.5) / 2  # sides of 4 to 245 pixels
    return torch.cat([centre - half, centre + half], dim=1).clamp(0, SIDE)


def one_by_one(features: list[Tensor], wanted: Tensor) -> Tensor:
    """Sample each box's grid with torch's grid_sample and average it in bins."""
    pooled = features[0].new_zeros((len(wanted), len(features[0]), BINS, BINS))
    for row, (level, box) in enumerate(zip(levels_of(wanted).tolist(), wanted, strict=True)):
        feature = features[level]
        start, end = (box / STRIDES[level] - 0.5).split(2)
        counts = ((end - start) / BINS).ceil().long().tolist()  # across, down
        if min(counts) < 1:
            continue  # a box without extent has no samples
        x, y = (_samples(start[axis], end[axis], counts[axis], feature.shape[2 - axis]) for axis in (0, 1))
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
        sampled = F.grid_sample(feature[None], grid[None], padding_mode="border", align_corners=True)
        pooled[row] = F.avg_pool2d(sampled[0], (counts[1], counts[0]))
    return pooled


def _samples(start: Tensor, end: Tensor, count: int, size: int) -> Tensor:
    """Return where the samples of all bins lie along an axis, in grid_sample's -1 to 1."""
    steps = (torch.arange(BINS * count) + 0.5) / (BINS * count)
    return (start + steps * (end - start)) / (size - 1) * 2 - 1


def compiled() -> Pool | None:
    """Return torchvision's compiled operator, where it is installed and works."""
    try:
        from torchvision.ops import roi_align
    except ImportError:
        return None
    if not hasattr(torch.ops.torchvision, "roi_align"):
        return None  # it would compile its Python version, which takes minutes

    def pool(features: list[Tensor], wanted: Tensor) -> Tensor:
        pooled = features[0].new_zeros((len(wanted), len(features[0]), BINS, BINS))
        levels = levels_of(wanted)
        for level, feature in enumerate(features):
            rows = (levels == level).nonzero().flatten()
            pooled[rows] = roi_align(feature[None], [wanted[rows]], BINS, 1 / STRIDES[level], 0, aligned=True)
        return pooled

    return pool


def in_chunks(size: int, features: list[Tensor], wanted: Tensor) -> Tensor:
    """Pool as the cascade does: so many boxes at once."""
    return torch.cat([pool_boxes(features, part) for part in torch.split(wanted, size)])


def compare(
    repeats: int, sizes: Sequence[int], count: int = BOXES, channels: int = R50.fpn
) -> measure.Comparison:
    """Check that all ways agree, then time them.

    Args:
        repeats: timed rounds.
        sizes: boxes at once in our way; the first is what the judge does.
        count: boxes in all.
        channels: of the maps.

    Raises:
        RuntimeError: a way pools something else.
    """
    features, wanted = maps(channels), boxes(count)
    first, *others = sizes
    pools: dict[str, Pool] = {measure.OURS: partial(in_chunks, first)}
    pools |= {f"ours, {size} at once": partial(in_chunks, size) for size in others}
    pools["one by one, grid_sample"] = one_by_one
    operator = compiled()
    if operator is not None:
        pools["torchvision's compiled operator"] = operator
    expected = pools[measure.OURS](features, wanted)
    for name, pool in pools.items():
        worst = float((pool(features, wanted) - expected).abs().max())
        if not worst <= TOLERANCE:
            raise RuntimeError(f"{name!r} pools something else: {worst:.1e} away")
    ways = {name: partial(pool, features, wanted) for name, pool in pools.items()}
    case = f"pooling of {count} boxes, {channels} channels"
    return measure.Comparison(case, count, measure.interleaved(ways, repeats))


def main() -> None:
    """Print the table."""
    options = measure.arguments((__doc__ or "").partition("\n")[0], repeats=5)
    with torch.inference_mode():
        row = compare(options.repeats, (CHUNK, BOXES))
    measure.publish("unidet_pooling", "boxes", "random", [row])


if __name__ == "__main__":
    main()
