"""Options and declared capabilities of the model; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

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


class DreamLlmModelOptions(LoadingOptions):
    """Options of `dreamllm`; the ways of decoding are those that the original repository uses."""

    path: str = Field(
        default="",
        description="folder of the checkpoint in its original layout, or its hub id",
        json_schema_extra={"paper": "Sec. 4.1", "unit": "", "checkpoint": {"revision": "revision"}},
    )
    companions: str = Field(
        default="",
        description="folder that holds the configurations of CLIP and Stable Diffusion, each in a folder "
        "named as in config.json; empty: a folder `companions` in the checkpoint or beside it, else those of "
        "CLIP ViT-L/14 and Stable Diffusion 2.1 base, which silmm knows",
        json_schema_extra={"paper": "ours", "unit": "", "checkpoint": {"beside": ["companions"]}},
    )
    steps: int = Field(
        default=50,
        ge=1,
        le=1000,
        description="denoising steps of an image (the repository uses 50, 100 and 150)",
        json_schema_extra={"paper": "not given", "unit": "steps"},
    )
    guidance: float = Field(
        default=3.5,
        ge=1.0,
        description="scale of classifier-free guidance, 1 is none (the repository uses 2.0, 2.5, 3.5, 7.5)",
        json_schema_extra={"paper": "not given", "unit": ""},
    )
    negative_prompt: str = Field(
        default="",
        description="the prompt that guidance leads away from",
        json_schema_extra={"paper": "not given", "unit": ""},
    )
    prompt_prefix: str = Field(
        default="",
        description="text before every prompt; the aesthetic checkpoint's script has "
        "'(best quality,extremely detailed) '",
        json_schema_extra={"paper": "not given", "unit": ""},
    )
    chat_batch_size: int = Field(
        default=32,
        ge=1,
        description="prompts or chat requests in one forward pass",
        json_schema_extra={"paper": "ours", "unit": "rows"},
    )
    vqa_batch_size: int = Field(
        default=8,
        ge=1,
        description="images that are asked about in one forward pass",
        json_schema_extra={"paper": "ours", "unit": "images"},
    )
    decode_batch_size: int = Field(
        default=8,
        ge=1,
        description="images that are decoded at once",
        json_schema_extra={"paper": "ours", "unit": "images"},
    )
