"""From queries to objects: top 100 of query x class, full-size masks, scores and boxes (docs/spec/geneval.md 4.6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # torch's own convention
from numpy.typing import NDArray
from torch import Tensor

from silmm_benchmarks.judges.mask2former.network import Output

MOST = 100
"""Objects of an image: the most probable pairs of a query and a class. A query can give several; there is no NMS."""
_TOGETHER = 8
"""Masks that are resized at once; each takes a few megabytes at the input's and at the image's size."""


@dataclass(frozen=True)
class MaskedObjects:
    """Objects in the order of an unsorted top 100, shapes (n,), (n,), (n, 4), (n,), and the masks of their queries."""

    classes: NDArray[np.int64]
    scores: NDArray[np.float32]
    """Probability of the class times the mean probability inside the mask."""
    boxes: NDArray[np.float32]
    """x0, y0, x1, y1 in pixels of the image; the last two are exclusive, and an empty mask has a box of zeros."""
    queries: NDArray[np.int64]
    """The query of each object; its mask is `masks[query]`."""
    masks: dict[int, NDArray[np.bool_]]
    """Query → mask, shape (height, width) of the image."""


def masked_objects(
    output: Output, padded: tuple[int, int], resized: tuple[int, int], original: tuple[int, int],
    *, least: float = 0.0, most: int = MOST,
) -> MaskedObjects:
    """Return the objects of an image.

    Args:
        output: the network's prediction.
        padded: height and width of its input.
        resized: height and width of the image inside it.
        original: height and width of the image.
        least: objects whose class probability is below it are left out; a score is at most that probability.
        most: pairs of query and class that are taken.
    """
    probabilities = output.class_logits.softmax(-1)[:, :-1]
    classes = probabilities.shape[1]
    best, index = probabilities.flatten().topk(min(most, probabilities.numel()), sorted=False)
    index, best = index[best >= least], best[best >= least]
    if not len(best):
        empty = np.zeros(0, dtype=np.int64)
        return MaskedObjects(empty, np.zeros(0, np.float32), np.zeros((0, 4), np.float32), empty, {})
    queries, labels = index.div(classes, rounding_mode="floor"), index % classes
    kept, row = torch.unique(queries, return_inverse=True)
    masks: list[Tensor] = []
    means: list[Tensor] = []
    for part in torch.split(output.mask_logits[kept], _TOGETHER):
        binary, mean = _at_image_size(part, padded, resized, original)
        masks += binary
        means.append(mean)
    numbers = kept.tolist()
    by_query = {number: mask.cpu().numpy() for number, mask in zip(numbers, masks, strict=True)}
    boxes = np.array([tight_box(by_query[number]) for number in numbers], dtype=np.float32)
    return MaskedObjects(
        labels.cpu().numpy(), (best * torch.cat(means)[row]).cpu().numpy(), boxes[row.cpu().numpy()],
        queries.cpu().numpy(), by_query,
    )


def _at_image_size(
    logits: Tensor, padded: tuple[int, int], resized: tuple[int, int], original: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return masks (n, height, width) and the mean probability inside each, (n,).

    Logits are interpolated twice, as in the original: to the padded input, and its image part to the image's size.
    """
    logits = F.interpolate(logits[None], size=padded, mode="bilinear", align_corners=False)
    logits = logits[:, :, : resized[0], : resized[1]]
    logits = F.interpolate(logits, size=original, mode="bilinear", align_corners=False)[0]
    binary = logits > 0
    inside = (logits.sigmoid() * binary).flatten(1).sum(1)
    return binary, inside / (binary.flatten(1).sum(1) + 1e-6)


def tight_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return the box around a mask (height, width); zeros if it is empty."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if not len(columns):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
