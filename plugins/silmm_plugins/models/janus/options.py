"""Options and declared capabilities of the model; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm.contracts.options import option
from silmm_plugins.models._shared.loading_options import LoadingOptions

if TYPE_CHECKING:
    from silmm.contracts.models import Capability

CAPABILITIES: tuple[Capability, ...] = (
    *("chat", "yes_no", "log_likelihood", "token_log_likelihood", "nucleus", "rewrite"),
)


class JanusOptions(LoadingOptions):
    """Options of `janus`."""

    path: str = option(
        "",
        "folder of a Janus or Janus-Pro checkpoint, transformers or original layout, or a hub id such as "
        "deepseek-community/Janus-Pro-1B",
        checkpoint={"revision": "revision"},
    )
    guidance: float = option(
        5.0, "classifier-free guidance of sampling, 1 is none; the likelihood has none", ge=0.0, paper="Janus: 5"
    )
    sampling_batch_size: int = option(16, "images sampled at once", ge=1, unit="images")
    decode_batch_size: int = option(16, "images decoded at once", ge=1, unit="images")
    vqa_batch_size: int = option(8, "images read at once, each with all its questions", ge=1, unit="images")
    chat_batch_size: int = option(16, "chat requests answered at once", ge=1, unit="requests")
