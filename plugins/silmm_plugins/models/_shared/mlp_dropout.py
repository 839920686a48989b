"""Seeded dropout on the MLP blocks of a model, which makes a deterministic H(x) diverse (DropDiv, MC dropout).

Each row of the batch has masks of its own, from a counter-based generator keyed by (seed of the row, layer)
and counted from the end of the sequence, so that neither the other rows nor left padding change them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Literal

from pydantic import field_validator

from silmm.contracts.options import Options, option
from silmm.errors import PluginError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from silmm.contracts.models import BaseModel

_LAST = re.compile(r"last:([1-9]\d*)")
_LEVELS = 1 << 16
"""Random numbers are 16 bits wide: the effective rate differs from the option by less than 1e-5."""
_WORD = (1 << 64) - 1


class MlpDropoutOptions(Options):
    """Where and how strongly to drop; the paper inserts it "in the last few MLP layers" and names no rate."""

    rate: float = option(
        0.3,
        "share of the values that are set to 0; a higher rate gives more diverse and worse candidates",
        ge=0.0, lt=1.0, unit="share", paper="Sec. 3.1 step 2, Fig. 6 (no value given)",
    )
    layers: str = option(
        "last:2", "which decoder layers: last:N, first-half, second-half or all", paper="Sec. 3.1 step 2, Figs. 9-11"
    )
    site: Literal["mlp_out", "mlp_inner"] = option(
        "mlp_out",
        "mlp_out: the block's output, before it is added to the residual; mlp_inner: the input of its last linear "
        "map",
        paper="Sec. 3.1 step 2",
    )
    positions: Literal["queries", "all"] = option(
        "queries", "which positions: those of the queries alone, or also the prompt's", paper="not said"
    )

    mask: Literal["position", "candidate"] = option(
        "position",
        "position: every position drops values of its own, as plain dropout does; candidate: one mask per layer for "
        "all positions of a candidate (Gal and Ghahramani 2016), which pooling over the positions does not "
        "average away",
        paper="not said; candidate is ours",
    )

    @field_validator("layers")
    @classmethod
    def _known_layers(cls, value: str) -> str:
        if value not in ("first-half", "second-half", "all") and not _LAST.fullmatch(value):
            raise ValueError("write last:N with N of at least 1, first-half, second-half or all")
        return value


def chosen_layers(layers: str, count: int) -> range:
    """Return the numbers, from 0, of the layers that `layers` selects in a model with `count` of them.

    Raises:
        UsageError: `last:N` asks for more layers than there are.
    """
    last = _LAST.fullmatch(layers)
    if last and int(last[1]) > count:
        raise UsageError(f"layers={layers}: the model has {count} MLP blocks; give last:{count} or less.")
    first = {"first-half": 0, "second-half": count // 2, "all": 0}.get(layers)
    start = count - int(last[1]) if last else first
    if start is None:
        raise UsageError(f"layers={layers!r}: give last:N, first-half, second-half or all.")
    return range(start, count // 2 if layers == "first-half" else count)


@contextmanager
def mlp_dropout(
    model: BaseModel, seeds: Sequence[int], options: MlpDropoutOptions, queries: int
) -> Iterator[None]:
    """Drop values in the MLP blocks of `model` while the body runs; the others are divided by 1 - rate.

    Each pass through the blocks in the body must have the rows of `seeds` (:meth:`BaseModel.features`). Dropout is
    differentiable and works under autocast. The hooks are removed afterwards, also after an error.

    Args:
        model: declares `mlp_blocks`.
        seeds: of each row of the batch; equal seeds get equal masks.
        options: rate, layers, site and positions.
        queries: L, the number of query positions at the end; used by `positions=queries`.

    Raises:
        UsageError: `layers` asks for more layers than there are.
        PluginError: inside the body: a block sees another number of rows than there are seeds.
    """
    blocks = model.mlp_blocks()
    layers = chosen_layers(options.layers, len(blocks)) if options.rate else range(0)
    last = queries if options.positions == "queries" else None
    with ExitStack() as hooks:
        for layer in layers:
            drop = _dropper(seeds, layer, options.rate, last, shared=options.mask == "candidate")
            if options.site == "mlp_out":
                hooks.enter_context(
                    blocks[layer].register_forward_hook(lambda _, __, out, drop=drop: drop(out))
                )
            else:
                inner = blocks[layer].get_submodule("down_proj")
                hooks.enter_context(
                    inner.register_forward_pre_hook(lambda _, inputs, drop=drop: (drop(inputs[0]), *inputs[1:]))
                )
        yield


def _dropper(
    seeds: Sequence[int], layer: int, rate: float, last: int | None, *, shared: bool
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the dropout of a layer for values (batch, time, channels); `last` None is every position.

    With `shared` all positions drop the same channels.
    """

    def drop(values: torch.Tensor) -> torch.Tensor:
        import torch

        if values.dim() != 3 or len(values) != len(seeds):
            raise PluginError(
                f"Dropout with {len(seeds)} seeds met values of shape {tuple(values.shape)} in MLP block "
                f"{layer}; BaseModel.features must pass exactly its own rows through the blocks at once, "
                "(batch, time, D). Report it to the author of the model's plugin."
            )
        time = values.shape[1]
        touched = time if last is None else min(last, time)
        masks = drop_masks(seeds, layer, rate, 1 if shared else touched, values.shape[2])
        dropped = torch.from_numpy(masks)
        tail = values[:, time - touched :].masked_fill(dropped.to(values.device), 0.0) / (1.0 - rate)
        return torch.cat([values[:, : time - touched], tail], 1)

    return drop


def drop_masks(
    seeds: Sequence[int], layer: int, rate: float, positions: int, channels: int
) -> npt.NDArray[np.bool_]:
    """Return the masks of dropped values, (seeds, positions, channels), true with probability `rate`.

    A row is a function of its seed and the layer. Its numbers are counted from the last position to the
    first: further positions in front change none of the later ones.
    """
    import numpy as np

    threshold = round(rate * _LEVELS)
    count = positions * channels
    masks = np.empty((len(seeds), positions, channels), dtype=np.bool_)
    for row, seed in enumerate(seeds):
        # layer + 1: the key (seed, 0) is the stream of other users of the seed
        generator = np.random.Philox(key=np.array([seed & _WORD, layer + 1], dtype=np.uint64))
        numbers = generator.random_raw(-(-count // 4)).astype("<u8", copy=False).view("<u2")[:count]
        masks[row] = (numbers < threshold).reshape(positions, channels)[::-1]
    return masks
