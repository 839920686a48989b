"""Registration of `janus`: what it can do, and its options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from silmm_plugins.loading_options import LoadingOptions

if TYPE_CHECKING:
    from silmm.interfaces import BaseModel
    from silmm.registry import Register


class JanusOptions(LoadingOptions):
    """Options of `janus`."""

    path: str = Field(
        default="",
        description="folder of a Janus or Janus-Pro checkpoint, transformers or original layout, or a hub id "
        "such as deepseek-community/Janus-Pro-1B",
        json_schema_extra={"paper": "ours", "unit": "", "checkpoint": {"revision": "revision"}},
    )
    guidance: float = Field(
        default=5.0,
        ge=0.0,
        description="classifier-free guidance of drawing, 1 is none; the likelihood never has any",
        json_schema_extra={"paper": "Janus: 5", "unit": ""},
    )
    draw_batch: int = Field(
        default=16,
        ge=1,
        description="images drawn at once",
        json_schema_extra={"paper": "ours", "unit": "images"},
    )
    decode_batch: int = Field(
        default=16,
        ge=1,
        description="pictures decoded at once",
        json_schema_extra={"paper": "ours", "unit": "images"},
    )
    look_batch: int = Field(
        default=8,
        ge=1,
        description="pictures looked at at once, each with all its questions",
        json_schema_extra={"paper": "ours", "unit": "images"},
    )
    talk_batch: int = Field(
        default=16,
        ge=1,
        description="texts written at once",
        json_schema_extra={"paper": "ours", "unit": "requests"},
    )


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
    from silmm_plugins.devices import check_devices
    from silmm_plugins.janus.checkpoint import open_checkpoint
    from silmm_plugins.janus.model import Batches, Janus

    devices = check_devices("janus", options.device)
    checkpoint = open_checkpoint(options.path, dtype=options.dtype, revision=options.revision)
    batches = Batches(options.draw_batch, options.decode_batch, options.look_batch, options.talk_batch)
    return Janus(
        checkpoint, guidance=options.guidance, batches=batches, devices=devices, offload=options.offload
    )
