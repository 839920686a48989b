"""Options and declared capabilities of the model; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm.contracts.options import option
from silmm_plugins.models._shared.loading_options import LoadingOptions

if TYPE_CHECKING:
    from silmm.contracts.models import Capability


CAPABILITIES: tuple[Capability, ...] = (
    *("chat", "yes_no", "features", "mlp_blocks", "query_embeddings", "rewrite"),
)

DEFAULTS: dict[str, object] = {
    "sampler": "dropdiv",
    "trainer": "kc-dpo",
    "kernel": "avgpool-cos",
}


class DreamLlmOptions(LoadingOptions):
    """Options of `dreamllm`; values of decoding are from the original repository."""

    path: str = option(
        "",
        "folder of the checkpoint in its original layout, or its hub id",
        paper="Sec. 4.1", checkpoint={"revision": "revision"},
    )
    companions: str = option(
        "",
        "folder that holds the configurations of CLIP and Stable Diffusion, each in a folder named as in "
        "config.json; empty: a folder `companions` in the checkpoint or beside it, else the published values of CLIP "
        "ViT-L/14 and Stable Diffusion 2.1 base",
        checkpoint={"beside": ["companions"]},
    )
    steps: int = option(
        50,
        "denoising steps per image (the repository uses 50, 100 and 150)",
        ge=1, le=1000, unit="steps", paper="not given",
    )
    guidance: float = option(
        3.5,
        "scale of classifier-free guidance, 1 is none (the repository uses 2.0, 2.5, 3.5, 7.5)",
        ge=1.0, paper="not given",
    )
    negative_prompt: str = option("", "the prompt that guidance leads away from", paper="not given")
    prompt_prefix: str = option(
        "",
        "text before every prompt; the aesthetic checkpoint's script has '(best quality,extremely detailed) '",
        paper="not given",
    )
    sampling_batch_size: int = option(32, "prompts whose H is computed at once", ge=1, unit="prompts")
    chat_batch_size: int = option(32, "chat requests answered at once", ge=1, unit="requests")
    vqa_batch_size: int = option(8, "images read at once, each with all its questions", ge=1, unit="images")
    decode_batch_size: int = option(8, "images decoded at once", ge=1, unit="images")
