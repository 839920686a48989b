"""The maps between the language model's space and those of images and conditions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from silmm.checkpoint.networks import empty_network, fill, refuse_unknown
from silmm.errors import DataError

_PREFIX = "projector.projector."


def projector(weights: Mapping[str, Tensor], source: Path, dtype: torch.dtype) -> nn.Module:
    """Build the projector of a plugin file: one linear map, or linear maps with GELU between them.

    Its form is read from the names: `projector.projector.weight`, or `projector.projector.{0,2,…}.weight`
    (docs/spec/base-models.md 1.1).

    Raises:
        DataError: the file holds another kind of projector, or none.
    """
    own = {name.removeprefix(_PREFIX): tensor for name, tensor in weights.items() if name.startswith(_PREFIX)}
    if "weight" in own:
        network: nn.Module = empty_network(lambda: _linear(own, ""))
    else:
        prefixes = [name.partition(".")[0] for name in own if name.endswith(".weight")]
        numbers = sorted(int(prefix) for prefix in prefixes if prefix.isdigit())
        if not numbers or numbers != list(range(0, 2 * len(numbers), 2)):
            raise DataError(
                f"{source}: {_PREFIX}weight is missing, and no {_PREFIX}0.weight, …2.weight either; expected "
                "a linear projector or an MLP"
            )
        network = empty_network(lambda: _mlp(own, numbers))
    refuse_unknown(source, "the projector", fill(network, own, source, dtype=dtype))
    return network


def _mlp(own: Mapping[str, Tensor], numbers: list[int]) -> nn.Module:
    layers: list[nn.Module] = []
    for number in numbers:
        layers += [*([nn.GELU()] if layers else []), _linear(own, f"{number}.")]
    return nn.Sequential(*layers)


def _linear(own: Mapping[str, Tensor], prefix: str) -> nn.Module:
    rows, columns = own[f"{prefix}weight"].shape
    return nn.Linear(columns, rows, bias=f"{prefix}bias" in own)
