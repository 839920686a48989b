"""What trainers rely on in the two halves of kernels."""

from __future__ import annotations

import torch

from silmm.contracts.components import Aggregation, Distance
from silmm.testing.cases import Nonconformance, array, compare

_TOLERANCE = 1e-5


def check_aggregation(aggregation: Aggregation, length: int = 5, width: int = 4) -> None:
    """Check that (…, L, D) becomes (…, L', D) in float32, row by row, differentiably."""
    features = _features(6, length, width).reshape(2, 3, length, width).requires_grad_(True)
    pooled = aggregation(features)
    if pooled.shape[:2] != (2, 3) or pooled.ndim != 4 or pooled.shape[-1] != width:
        raise Nonconformance(f"aggregation: {tuple(features.shape)} becomes (2, 3, L', {width}), not "
                             f"{tuple(pooled.shape)}")
    if pooled.dtype != torch.float32:
        raise Nonconformance(f"aggregation: float32 becomes float32, not {pooled.dtype}")
    alone = aggregation(features[1, 2])
    compare(array(pooled[1, 2]), array(alone), _TOLERANCE, "aggregation: a matrix is pooled by itself")
    _differentiable("aggregation", pooled.sum(), features)


def check_distance(distance: Distance, length: int = 5, width: int = 4) -> None:
    """Check that a distance is 0 at equality, never negative, symmetric, broadcast and differentiable."""
    a = _features(4, length, width, seed=1).requires_grad_(True)
    b = _features(4, length, width, seed=2)
    far = distance(a, b)
    if far.shape != (4,) or far.dtype != torch.float32:
        raise Nonconformance(f"distance: float32 (4,) for four pairs, not {far.dtype} {tuple(far.shape)}")
    if not torch.isfinite(far).all() or not (far > 0).all():
        raise Nonconformance(f"distance: above 0 between different matrices, not {far.tolist()}")
    compare(array(distance(b, a)), array(far), _TOLERANCE, "distance: symmetric")
    compare(array(distance(a, a)), [0.0] * 4, 1e-6, "distance: 0 at equality")
    every = distance(a[:, None], b[None])
    if every.shape != (4, 4):
        raise Nonconformance(f"distance: (4, 1, L, D) and (1, 4, L, D) give (4, 4), not {tuple(every.shape)}")
    compare(array(every.diagonal()), array(far), _TOLERANCE, "distance: the same broadcast and pair by pair")
    _differentiable("distance", far.sum(), a)
    same = a.detach().clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(distance(same, a.detach()).sum(), same)
    if not torch.isfinite(gradient).all():
        raise Nonconformance("distance: the gradient at equality, where training starts, is not finite")


def _features(count: int, length: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, length, width, generator=generator)


def _differentiable(what: str, value: torch.Tensor, features: torch.Tensor) -> None:
    if not value.requires_grad:
        raise Nonconformance(f"{what}: not differentiable")
    (gradient,) = torch.autograd.grad(value, features, retain_graph=True)
    if not torch.isfinite(gradient).all() or not gradient.any():
        raise Nonconformance(f"{what}: its gradient is 0 or not finite")
