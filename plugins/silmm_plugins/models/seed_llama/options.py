"""Options and declared capabilities of the model; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from silmm.contracts.options import option
from silmm_plugins.models._shared.loading_options import LoadingOptions

if TYPE_CHECKING:
    from silmm.contracts.models import Capability

CAPABILITIES: tuple[Capability, ...] = (
    *("chat", "yes_no", "log_likelihood", "token_log_likelihood", "nucleus", "rewrite"),
)


class SeedLlamaOptions(LoadingOptions):
    """Options of `seed-llama`."""

    path: str = option(
        "",
        "folder of the language model (or its hub id), or a folder that holds it and the other parts",
        checkpoint={"named": True, "revision": "revision"},
    )
    tokenizer: str = option(
        "",
        "folder (or hub id) with tokenizer.model and seed_quantizer.pt; empty: in or beside `path`",
        checkpoint={"beside": ["seed_quantizer.pt", "*/seed_quantizer.pt", "seed-tokenizer*"]},
    )
    vit: str = option(
        "",
        "eva_vit_g.pth, where seed_quantizer.pt holds no image encoder; empty: in or beside `path`",
        checkpoint={"beside": [f"{deep}eva_vit_g.pth" for deep in ("", "*/", "*/*/")]},
    )
    vit_heads: int = option(
        0,
        "attention heads of the image encoder, which no file states; 0: 16 at the published width, else the language "
        "model's number",
        ge=0,
    )
    unclip: str = option(
        "",
        "folder (or hub id) of stable-diffusion-2-1-unclip, which decodes the images; empty: in or beside `path`",
        checkpoint={"beside": ["*unclip*"]},
    )
    template: Literal["auto", "8b", "14b", "pretrain"] = option(
        "auto", "the release's prompt template; auto: by the folder's name and the width"
    )
    steps: int = option(20, "denoising steps per image (the original scripts' number)", ge=1, unit="steps")
    guidance: float = option(10.0, "guidance of the denoising (the original scripts' number)", gt=1.0)
    sampling_batch_size: int = option(64, "candidates sampled at once", ge=1, unit="candidates")
    decode_batch_size: int = option(8, "images decoded at once", ge=1, unit="images")
    vqa_batch_size: int = option(32, "images read at once, each with all its questions", ge=1, unit="images")
    chat_batch_size: int = option(32, "chat requests answered at once", ge=1, unit="requests")
