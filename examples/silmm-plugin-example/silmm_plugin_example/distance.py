"""A distance between features, the second half of a kernel."""

from __future__ import annotations

import torch


def mean_absolute_difference(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the mean of |a - b| over the last two dimensions (L', D), broadcasting the others."""
    return (a - b).abs().mean((-2, -1))
