"""Fit the image tokenizer's codebook to the patches of clean images by weighted k-means."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from silmm_plugins.models.tiny_discrete.image_tokenizer import PATCH, TinyImageTokenizer
from torch import Tensor

CODES = 1024
ROUNDS = 20


def pixels(images: NDArray[np.uint8]) -> Tensor:
    """Return images (N, H, W, 3) uint8 as (N, 3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(images).movedim(-1, 1).float() / 255


def distinct_patches(images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    """Return the distinct patches (n, PATCH, PATCH, 3) and how often each occurs, commonest first."""
    number, height, width, _ = images.shape
    cut = images.reshape(number, height // PATCH, PATCH, width // PATCH, PATCH, 3).swapaxes(2, 3)
    flat = np.ascontiguousarray(cut.reshape(-1, PATCH * PATCH * 3))
    rows, counts = np.unique(flat.view(f"V{flat.shape[1]}").ravel(), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return rows[order].view(np.uint8).reshape(-1, PATCH, PATCH, 3), counts[order]


def fit(images: NDArray[np.uint8], codes: int = CODES) -> TinyImageTokenizer:
    """Start from the commonest patches and let the rare ones move their nearest code (Lloyd's rounds)."""
    patches, counts = distinct_patches(images)
    points = pixels(patches).flatten(1)
    weight = torch.from_numpy(counts).float()[:, None]
    tokenizer = TinyImageTokenizer(codes)
    tokenizer.codebook[: len(points)] = points[:codes]
    for _ in range(ROUNDS if len(points) > codes else 0):
        owner = torch.cdist(points, tokenizer.codebook).argmin(1)
        total = torch.zeros(codes, 1).index_add(0, owner, weight)
        mean = torch.zeros_like(tokenizer.codebook).index_add(0, owner, weight * points)
        tokenizer.codebook[:] = mean / total.clamp(min=1)
    print(f"tokenizer: {len(points)} distinct patches, {codes} codes", flush=True)
    return tokenizer.eval()
