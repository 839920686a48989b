"""The paper's three aggregations and two distances, whose pairs are the six kernels of Table 3.

All compute in float32 at least: half precision is converted first, float64 stays. Under autocast nothing
changes, since no operation here is a matrix product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm.registry.kernels import NO_AGGREGATION, at_least_float32

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from silmm.contracts.components import Aggregation, Distance
    from silmm.contracts.options import NoOptions
    from silmm.contracts.registration import Register

_MATRIX = (-2, -1)
"""The dimensions of one feature matrix, (L, D)."""


def register_aggregations(register: Register) -> None:
    """Register `none`, `maxpool` and `avgpool`."""
    register(
        NO_AGGREGATION,
        _no_aggregation,
        requires=["features"],
        kinds=["continuous"],
        paper="Eq. 6, Table 3",
        summary="The features position by position, as they are.",
    )
    register(
        "maxpool",
        _maxpool,
        requires=["features"],
        kinds=["continuous"],
        paper="Eq. 6, Table 3",
        summary="Maximum of each feature over the positions.",
    )
    register(
        "avgpool",
        _avgpool,
        requires=["features"],
        kinds=["continuous"],
        paper="Eq. 6, Table 3",
        summary="Mean of each feature over the positions.",
    )


def register_distances(register: Register) -> None:
    """Register `eucl` and `cos`."""
    register(
        "eucl",
        _eucl,
        requires=["features"],
        kinds=["continuous"],
        paper="Eq. 6, Table 3",
        summary="Squared Euclidean distance.",
    )
    register(
        "cos",
        _cos,
        requires=["features"],
        kinds=["continuous"],
        paper="Eq. 6, Table 3",
        summary="One minus the cosine.",
    )


def same(features: Float[Tensor, "*batch length dim"]) -> Float[Tensor, "*batch length dim"]:
    """Return the features (…, L, D) as they are, in float32 at least."""
    return at_least_float32(features)


def maxpool(features: Float[Tensor, "*batch length dim"]) -> Float[Tensor, "*batch 1 dim"]:
    """Return the maximum over the positions, (…, L, D) to (…, 1, D); equal maxima share the gradient."""
    return at_least_float32(features).amax(-2, keepdim=True)


def avgpool(features: Float[Tensor, "*batch length dim"]) -> Float[Tensor, "*batch 1 dim"]:
    """Return the mean over the positions, (…, L, D) to (…, 1, D)."""
    return at_least_float32(features).mean(-2, keepdim=True)


def squared_euclidean(
    a: Float[Tensor, "*#batch length dim"], b: Float[Tensor, "*#batch length dim"]
) -> Float[Tensor, "..."]:
    """Return the squared Frobenius norm of a - b over the last two dimensions, ‖a - b‖² (Eq. 5).

    Both are (…, L', D); the leading dimensions broadcast.
    """
    return (at_least_float32(a) - at_least_float32(b)).square().sum(_MATRIX)


def one_minus_cosine(
    a: Float[Tensor, "*#batch length dim"], b: Float[Tensor, "*#batch length dim"]
) -> Float[Tensor, "..."]:
    """Return 1 - cosine of the flattened matrices, in [0, 2]: ½ ‖a/‖a‖ - b/‖b‖‖².

    The same by algebra, and in floating point exact at equality, never negative and precise for small
    angles. A matrix of zeros has no direction: it counts as zeros among the unit matrices, so it is 0
    from another zero, ½ from everything else, and no gradient flows into it.

    Both are (…, L', D); the leading dimensions broadcast.
    """
    return (_direction(a) - _direction(b)).square().sum(_MATRIX) / 2


def _direction(features: Float[Tensor, "*batch length dim"]) -> Float[Tensor, "*batch length dim"]:
    """Return the matrices at norm 1, and zeros for zeros."""
    import torch

    features = at_least_float32(features)
    # Squares of very large or small entries leave float32, so the largest entry becomes 1 first. The
    # result does not depend on this scale, so no gradient has to flow through it.
    largest = features.detach().abs().amax(_MATRIX, keepdim=True)
    scaled = features / largest.where(largest != 0, torch.inf)
    norm: Tensor = torch.linalg.vector_norm(scaled, dim=_MATRIX, keepdim=True)
    return scaled / norm.clamp_min(1.0)


def _no_aggregation(options: NoOptions) -> Aggregation:  # noqa: ARG001 - the factory contract
    return same


def _maxpool(options: NoOptions) -> Aggregation:  # noqa: ARG001 - the factory contract
    return maxpool


def _avgpool(options: NoOptions) -> Aggregation:  # noqa: ARG001 - the factory contract
    return avgpool


def _eucl(options: NoOptions) -> Distance:  # noqa: ARG001 - the factory contract
    return squared_euclidean


def _cos(options: NoOptions) -> Distance:  # noqa: ARG001 - the factory contract
    return one_minus_cosine
