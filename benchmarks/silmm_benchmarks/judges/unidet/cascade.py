"""The cascade of three box heads and what it makes of proposals (docs/spec/unidet.md 7)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from silmm_benchmarks.judges.unidet.architecture import CASCADE_WEIGHTS, CLASSES, Architecture
from silmm_benchmarks.judges.unidet.backbones import Conv, Norm
from silmm_benchmarks.judges.unidet.boxes import Suppression, clip, decode, grouped_nms, is_solid
from silmm_benchmarks.judges.unidet.pooling import BINS, pool_boxes

LEAST_SCORE = 0.1
"""A score has to be above it: a constant of the official code."""
OVERLAP = 0.5
MOST = 300
"""Detections of an image."""
CHUNK = 64
"""Boxes that go through a head at once; it bounds the memory."""


@dataclass(frozen=True)
class Stage:
    """One stage for one image: the boxes it pooled (n, 4), 723 logits, 4 deltas, decoded boxes."""

    boxes: Tensor
    logits: Tensor
    deltas: Tensor
    decoded: Tensor
    """Not clipped."""


@dataclass(frozen=True)
class Found:
    """The detections of one image by falling score: (n, 4) boxes, (n,) scores, (n,) class numbers."""

    boxes: Tensor
    scores: Tensor
    classes: Tensor


class LinearHead(nn.Module):
    """R50: two fully connected layers."""

    def __init__(self, architecture: Architecture) -> None:
        """Read pooled maps of the pyramid's width."""
        super().__init__()
        self.fc1 = nn.Linear(architecture.fpn * BINS * BINS, architecture.fc)
        self.fc2 = nn.Linear(architecture.fc, architecture.fc)

    def forward(self, pooled: Tensor) -> Tensor:
        """(n, C, 7, 7) -> (n, fc)."""
        return F.relu(self.fc2(F.relu(self.fc1(pooled.flatten(1)))))


class ConvolutionalHead(nn.Module):
    """RS200: four 3x3 convolutions and one fully connected layer."""

    def __init__(self, architecture: Architecture) -> None:
        """Read pooled maps of the pyramid's width."""
        super().__init__()
        width = architecture.fpn
        self.conv1, self.conv2, self.conv3, self.conv4 = (
            Conv(width, width, 3, norm=Norm(width, counted=True)) for _ in range(4)
        )
        self.fc1 = nn.Linear(width * BINS * BINS, architecture.fc)

    def forward(self, pooled: Tensor) -> Tensor:
        """(n, C, 7, 7) -> (n, fc)."""
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            pooled = F.relu(conv(pooled))
        return F.relu(self.fc1(pooled.flatten(1)))


class Predictor(nn.Module):
    """Logits of 722 classes and the background, and deltas that all classes share."""

    def __init__(self, width: int) -> None:
        """Read a head's output."""
        super().__init__()
        self.cls_score = nn.Linear(width, CLASSES + 1)
        self.bbox_pred = nn.Linear(width, 4)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """(n, fc) -> (n, 723), (n, 4)."""
        return self.cls_score(hidden).float(), self.bbox_pred(hidden).float()


class Cascade(nn.Module):
    """Three heads, each on boxes that the one before decoded."""

    def __init__(self, architecture: Architecture) -> None:
        """Build the heads that the architecture names."""
        super().__init__()
        head = ConvolutionalHead if architecture.split_attention else LinearHead
        self.box_head = nn.ModuleList(head(architecture) for _ in CASCADE_WEIGHTS)
        self.box_predictor = nn.ModuleList(Predictor(architecture.fc) for _ in CASCADE_WEIGHTS)

    def forward(self, features: list[Tensor], boxes: Tensor, height: int, width: int) -> list[Stage]:
        """Run the stages on one image.

        Args:
            features: p3, p4, p5 of the image, each (C, H, W), float32.
            boxes: the proposals, (n, 4).
            height, width: of the image without padding; boxes are clipped to it between stages, and
                empty ones stay, so that rows stay aligned.
        """
        stages: list[Stage] = []
        for head, predictor, weights in zip(self.box_head, self.box_predictor, CASCADE_WEIGHTS, strict=True):
            parts = [predictor(head(pool_boxes(features, part))) for part in torch.split(boxes, CHUNK)]
            logits, deltas = (torch.cat(column) for column in zip(*parts, strict=True))
            stages.append(Stage(boxes, logits, deltas, decode(deltas, boxes, weights)))
            boxes = clip(stages[-1].decoded, height, width)
        return stages


def mean_scores(stages: list[Stage]) -> Tensor:
    """Return the mean of the stages' sigmoids, background included, shape (n, 723)."""
    return torch.stack([stage.logits.sigmoid() for stage in stages]).sum(0) / len(stages)


def detections(stages: list[Stage], height: int, width: int, rule: Suppression) -> Found:
    """Return the detections of one image: boxes of the last stage with the mean scores.

    Each class of a box with a score above 0.1 is a candidate; suppression within the classes; the best
    300. What is empty after clipping is dropped at the very end.
    """
    scores, boxes = mean_scores(stages), stages[-1].decoded
    usable = boxes.isfinite().all(1) & scores.isfinite().all(1)
    boxes, scores = clip(boxes[usable], height, width), scores[usable, :CLASSES]
    rows, classes = (scores > LEAST_SCORE).nonzero(as_tuple=True)
    boxes, confidences = boxes[rows], scores[rows, classes]
    kept = grouped_nms(boxes, confidences, classes, OVERLAP, rule)[:MOST]
    kept = kept[is_solid(boxes[kept])]
    return Found(boxes[kept], confidences[kept], classes[kept])
