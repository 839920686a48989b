"""The region proposal network: logits and deltas on five levels, and which boxes go on (docs/spec/unidet.md 6)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from silmm_benchmarks.judges.unidet.boxes import ANCHORS, Suppression, clip, decode, grid_anchors, grouped_nms, is_solid

LEVEL_MOST = 1000
"""Boxes of a level that take part in the suppression."""
IMAGE_MOST = 1000
OVERLAP = 0.7
_WEIGHTS = (1.0, 1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Level:
    """The output of the head for one level: logits (B, 9, H, W) and deltas (B, 36, H, W)."""

    logits: Tensor
    deltas: Tensor


class ProposalHead(nn.Module):
    """One 3x3 convolution for all levels, and 1x1 to 9 logits and 36 deltas."""

    def __init__(self, channels: int) -> None:
        """Read maps of `channels`."""
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.objectness_logits = nn.Conv2d(channels, ANCHORS, 1)
        self.anchor_deltas = nn.Conv2d(channels, ANCHORS * 4, 1)

    def forward(self, features: list[Tensor]) -> list[Level]:
        """Read p3 to p7."""
        hidden = [F.relu(self.conv(feature)) for feature in features]
        return [Level(self.objectness_logits(h).float(), self.anchor_deltas(h).float()) for h in hidden]


class ProposalGenerator(nn.Module):
    """Holds the head under its official name."""

    def __init__(self, channels: int) -> None:
        """Read maps of `channels`."""
        super().__init__()
        self.rpn_head = ProposalHead(channels)

    def forward(self, features: list[Tensor]) -> list[Level]:
        """Read p3 to p7."""
        levels: list[Level] = self.rpn_head(features)
        return levels


def select(
    levels: list[Level], index: int, height: int, width: int, rule: Suppression
) -> tuple[Tensor, Tensor]:
    """Return the proposals of image `index` of a batch, at most 1000: boxes (n, 4) and logits (n,).

    Of each level the 1000 best by logit are decoded and clipped to the image without its padding; then
    suppression within the levels, and the best of all levels.
    """
    boxes, logits, groups = [], [], []
    for number, level in enumerate(levels):
        _, _, rows, columns = level.logits.shape
        scores = level.logits[index].permute(1, 2, 0).flatten()  # row, column, anchor
        best = scores.argsort(descending=True, stable=True)[:LEVEL_MOST]
        deltas = level.deltas[index].permute(1, 2, 0).reshape(-1, 4)  # channel = anchor * 4 + side
        anchors = grid_anchors(number, rows, columns, scores.device)
        boxes.append(decode(deltas[best], anchors[best], _WEIGHTS))
        logits.append(scores[best])
        groups.append(torch.full_like(best, number))
    candidates, scores, group = torch.cat(boxes), torch.cat(logits), torch.cat(groups)
    usable = candidates.isfinite().all(1) & scores.isfinite()
    candidates = clip(candidates, height, width)
    usable &= is_solid(candidates)
    candidates, scores, group = candidates[usable], scores[usable], group[usable]
    kept = grouped_nms(candidates, scores, group, OVERLAP, rule)[:IMAGE_MOST]
    return candidates[kept], scores[kept]
