"""Registration of `janus`: what it can do, and its options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm_plugins.models.janus.options import JanusOptions

if TYPE_CHECKING:
    from silmm.contracts.models import BaseModel
    from silmm.contracts.registration import Register




def register_models(register: Register) -> None:
    """Register `janus`."""
    register(
        "janus",
        _build,
        options=JanusOptions,
        summary="Janus and Janus-Pro (1B, 7B): image tokens and answers by one language model.",
        kind="discrete",
        capabilities=("chat", "yes_no", "log_likelihood", "nucleus", "rewrite"),
        paper="ours; the most used open model of the paper's kind",
    )


def _build(options: JanusOptions) -> BaseModel:
    from silmm_plugins.models._shared.devices import check_devices
    from silmm_plugins.models.janus.checkpoint import open_checkpoint
    from silmm_plugins.models.janus.model import Batches, Janus

    devices = check_devices("janus", options.device)
    checkpoint = open_checkpoint(options.path, dtype=options.dtype, revision=options.revision)
    batches = Batches(
        options.sampling_batch_size, options.decode_batch_size, options.vqa_batch_size, options.chat_batch_size
    )
    return Janus(
        checkpoint, guidance=options.guidance, batches=batches, devices=devices, offload=options.offload
    )
