"""Options and declared capabilities of the model; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm.contracts.options import option, presets
from silmm_plugins.models._shared.loading_options import LoadingOptions

if TYPE_CHECKING:
    from silmm.contracts.models import Capability

CAPABILITIES: tuple[Capability, ...] = (
    *("chat", "yes_no", "log_likelihood", "token_log_likelihood", "nucleus", "rewrite"),
)

DEFAULTS: dict[str, object] = {
    **presets("sampler", "nucleus", "rephrase", "explain", temperature=1.0, top_p=1.0, top_k=2048),
    **presets(
        "trainer", "dpo", "sft", "simpo", "ipo", "grpo",
        gradient_accumulation_steps=32, precision="bf16", gradient_checkpointing=True,
    ),
}
"""Sampling is the authors' own (docs/spec/base-models.md 3.5); 8k tokens a sequence want small micro-batches."""

_NEGATIVE = (
    "lowres, bad anatomy, bad hands, text, error, missing fingers, extra digit, fewer digits, cropped, "
    "worst quality, low quality, normal quality, jpeg artifacts, signature, watermark, username, blurry."
)


class Emu3Options(LoadingOptions):
    """Options of `emu3`; "authors" marks the settings of the model's own code."""

    path: str = option(
        "",
        "Emu3-Gen in its original or its -hf layout, a folder that holds it and the other parts, or a hub id",
        checkpoint={"revision": "revision"},
    )
    judge: str = option(
        "",
        "Emu3-Chat in either layout: folder or hub id; empty: the folder beside the policy; self: the policy itself "
        "answers",
        checkpoint={"beside": ["Emu3-Chat", "Emu3-Chat-hf"], "words": ["self"]},
    )
    vision: str = option(
        "",
        "Emu3-VisionTokenizer: folder or hub id; empty: inside (-hf) or beside the policy",
        checkpoint={"beside": ["Emu3-VisionTokenizer"]},
    )
    judge_device: str = option(
        "", "device of the judge, if not the policy's; the judge then stays there, whatever `offload` is"
    )
    image_area: int = option(
        0,
        "area of an image; 0: the checkpoint's, or 518400 (720 x 720). 262144 halves all times",
        ge=0, unit="pixels", paper="authors: 518400",
    )
    ratio: str = option("1:1", "width to height of an image", paper="authors: 1:1")
    guidance: float = option(
        3.0, "classifier-free guidance in sampling; 1 is off, and halves its cost", ge=1.0, paper="authors: 3"
    )
    positive_suffix: str = option(
        " masterpiece, film grained, best quality.",
        "follows every prompt, in sampling and in training",
        paper="authors",
    )
    negative_prompt: str = option(_NEGATIVE, "what guidance leads away from", paper="authors")
    vqa_max_pixels: int = option(
        0,
        "most pixels of an image that is asked about; 0: the checkpoint's number. 262144 makes answers about twice "
        "as fast",
        ge=0, unit="pixels",
    )
    sampling_batch_size: int = option(
        8, "candidates sampled at once; 2.1 GB of cache each at 720 x 720 with guidance", ge=1, unit="candidates"
    )
    chat_batch_size: int = option(8, "chat requests answered at once", ge=1, unit="requests")
    head_chunk: int = option(
        1024, "positions of a likelihood whose logits exist at a time; 134 MB at full size", ge=1, unit="positions"
    )
