"""Activation checkpointing: layers run again in the backward pass instead of being remembered.

Of a layer only its input is kept. Nothing is switched to training mode, so no dropout wakes up, and since
nothing random is left in a layer, the second run is the first one to the last bit (Chen et al. 2016,
arXiv 1604.06174).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from silmm.errors import UsageError


def recomputable_layers(backbone: nn.Module) -> tuple[nn.Module, ...]:
    """Return the layers of a backbone that can be run again: those that transformers marks so.

    Raises:
        UsageError: there are none.
    """
    layers = tuple(module for module in backbone.modules() if isinstance(module, GradientCheckpointingLayer))
    if not layers:
        raise UsageError(
            f"trainer.gradient_checkpointing=true: {type(backbone).__name__} has no layers of transformers' class "
            "GradientCheckpointingLayer, which are the ones that can be run again. Train with "
            "trainer.gradient_checkpointing=false, or derive the layers of your backbone from that class"
        )
    return layers


@contextmanager
def recomputed(layers: Sequence[nn.Module]) -> Iterator[None]:
    """Have what the body computes with these layers recomputed in its backward pass, wherever that is run.

    Without gradients nothing changes. Afterwards the layers are as before, also after an error.
    """
    before = [vars(layer).get("forward") for layer in layers]
    for layer in layers:
        again = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
        setattr(layer, "forward", again)  # noqa: B010 - a method is not assigned to
    try:
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            if own is None:
                del layer.forward
            else:
                setattr(layer, "forward", own)  # noqa: B010
