"""Kernels (Eq. 6, Table 3): every registered aggregation composed with every registered distance."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, cast

import pydantic

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from silmm.contracts.components import Aggregation, Distance, Kernel
    from silmm.registry.registration import Entry

NO_AGGREGATION = "none"
"""The aggregation that leaves the features as they are; a kernel's name does not mention it."""


@dataclass(frozen=True)
class ComposedKernel:
    """k(a, b): both sides aggregated, then their distance (docs/spec/method.md, Kernel)."""

    aggregation: Aggregation
    distance: Distance

    def __call__(
        self, a: Float[Tensor, "*#batch length dim"], b: Float[Tensor, "*#batch length dim"]
    ) -> Float[Tensor, "..."]:
        """Return k(a, b) over the last two dimensions (L, D), broadcasting the others.

        Inputs of lower precision are converted to float32 first (float64 stays), and autocast is off
        inside, so that neither half can fall back to half precision.
        """
        import torch

        with torch.autocast(a.device.type, enabled=False):
            return self.distance(
                self.aggregation(at_least_float32(a)), self.aggregation(at_least_float32(b))
            )


def at_least_float32(features: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return features of half precision as float32; float32 and float64 stay what they are."""
    import torch

    return features.to(torch.promote_types(features.dtype, torch.float32))


def compose(aggregations: Iterable[Entry], distances: Iterable[Entry]) -> list[Entry]:
    """Return the entry of each kernel: `A-D` for aggregation A and distance D, `D` where A is `none`.

    A pair whose halves share the name of an option is there too, with the reason in `Entry.problem`.
    """
    columns = list(distances)
    return [_pair(row, column) for row in aggregations for column in columns]


def _pair(aggregation: Entry, distance: Entry) -> Entry:
    halves = (aggregation, distance)
    plain = aggregation.name == NO_AGGREGATION
    same = aggregation.distribution == distance.distribution
    options, problem = _options(aggregation, distance)
    summary = f"{aggregation.summary.rstrip('.')}. {distance.summary}"
    return replace(
        distance,
        kind="kernel",
        name=distance.name if plain else f"{aggregation.name}-{distance.name}",
        factory=partial(_build, aggregation, distance),
        summary=f"Unusable: {problem}." if problem else distance.summary if plain else summary,
        options=options,
        requires=aggregation.requires | distance.requires,
        kinds=tuple(kind for kind in aggregation.kinds if kind in distance.kinds),
        distribution=_joined((half.distribution for half in halves), "+"),
        version=distance.version if same else f"{aggregation.version}+{distance.version}",
        paper=_joined((half.paper for half in halves), "; "),
        needs=frozenset(),
        check=None,
        revision=_joined((half.revision for half in halves), "+"),
        halves=halves,
        problem=problem,
    )


def _joined(texts: Iterable[str], separator: str) -> str:
    """Join the texts that say something, each once."""
    return separator.join(dict.fromkeys(text for text in texts if text))


def _options(aggregation: Entry, distance: Entry) -> tuple[type[pydantic.BaseModel], str]:
    """Return an option class with the options of both halves, or why there can be none.

    The class inherits both, validators included. A name that both define would hide one of the two.
    """
    one, two = aggregation.options, distance.options
    shared = sorted(one.model_fields.keys() & two.model_fields.keys())
    if shared:
        return two, f"{_named(aggregation)} and {_named(distance)} both have an option {shared[0]!r}"
    if not one.model_fields or not two.model_fields:
        return (one if one.model_fields else two), ""
    hidden = sorted(_own_names(one, two) & _own_names(two, one))
    if hidden:
        reason = f"the option classes of {_named(aggregation)} and {_named(distance)} both define"
        return two, f"{reason} {hidden[0]!r}"
    made = pydantic.create_model(f"{one.__name__}And{two.__name__}", __base__=(one, two))
    return made, ""


def _own_names(options: type[pydantic.BaseModel], other: type[pydantic.BaseModel]) -> set[str]:
    """Return the names of validators and methods that a class does not share with the other one."""
    own = (vars(base) for base in options.__mro__ if base not in other.__mro__)
    names = {name for namespace in own for name in namespace}
    return {name for name in names if not name.startswith(("__", "_abc_", "model_"))}


def _named(half: Entry) -> str:
    return f"{half.kind} {half.name!r} of {half.distribution}"


def _build(aggregation: Entry, distance: Entry, options: pydantic.BaseModel) -> Kernel:
    def half(entry: Entry) -> Callable[..., object]:
        own = options.model_dump(mode="json", include=set(entry.options.model_fields))
        return cast("Callable[..., object]", entry.factory(entry.options.model_validate(own)))

    return ComposedKernel(
        cast("Aggregation", half(aggregation)), cast("Distance", half(distance))
    )
