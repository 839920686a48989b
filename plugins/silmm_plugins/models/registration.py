"""The base models that come with silmm: what each can do, and the settings that suit it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from silmm.contracts.registration import lazy
from silmm_plugins.models.dreamllm import options as dreamllm
from silmm_plugins.models.emu3 import options as emu3
from silmm_plugins.models.janus import options as janus
from silmm_plugins.models.seed_llama import options as seed_llama
from silmm_plugins.models.tiny.options import TinyOptions, revision, verify
from silmm_plugins.models.tiny_continuous import options as tiny_continuous
from silmm_plugins.models.tiny_discrete import options as tiny_discrete
from silmm_plugins.models.vlm_diffusion import options as vlm_diffusion

if TYPE_CHECKING:
    from silmm.contracts.registration import Register


def register_models(register: Register) -> None:
    """Register the two embedded models and the adapters of published ones."""
    register(
        "tiny-discrete",
        lazy("silmm_plugins.models.tiny_discrete.model:TinyDiscrete.from_options"),
        options=TinyOptions,
        summary="Embedded image-token LMM (2.1 M parameters) in a world of coloured shapes.",
        kind="discrete",
        capabilities=tiny_discrete.CAPABILITIES,
        defaults=tiny_discrete.DEFAULTS,
        paper="ours; shaped like SEED-LLaMA and Emu3",
        check=partial(verify, tiny_discrete.WEIGHTS),
        revision=revision(tiny_discrete.WEIGHTS),
    )
    register(
        "tiny-continuous",
        lazy("silmm_plugins.models.tiny_continuous.model:TinyContinuous.from_options"),
        options=TinyOptions,
        summary="Embedded query-and-decoder LMM (3.6 M parameters) in a world of coloured shapes.",
        kind="continuous",
        capabilities=tiny_continuous.CAPABILITIES,
        defaults=tiny_continuous.DEFAULTS,
        paper="ours; shaped like DreamLLM",
        check=partial(verify, tiny_continuous.WEIGHTS),
        revision=revision(tiny_continuous.WEIGHTS),
    )
    register(
        "dreamllm",
        lazy("silmm_plugins.models.dreamllm.model:DreamLlm.load"),
        options=dreamllm.DreamLlmOptions,
        summary="DreamLLM 7B from its original checkpoint folder (--model dreamllm:DIR).",
        kind="continuous",
        capabilities=dreamllm.CAPABILITIES,
        defaults=dreamllm.DEFAULTS,
        paper="Sec. 4.1",
    )
    register(
        "vlm-diffusion",
        lazy("silmm_plugins.models.vlm_diffusion.model:VlmDiffusion.load"),
        options=vlm_diffusion.VlmDiffusionOptions,
        summary="Qwen-Image: Qwen2.5-VL conditions a diffusion transformer (--model vlm-diffusion:DIR).",
        kind="continuous",
        capabilities=vlm_diffusion.CAPABILITIES,
        defaults=vlm_diffusion.DEFAULTS,
        paper="ours",
    )
    register(
        "emu3",
        lazy("silmm_plugins.models.emu3.model:Emu3.load"),
        options=emu3.Emu3Options,
        summary="Emu3 (8B): Emu3-Gen samples and is tuned, Emu3-Chat answers; set model.path.",
        kind="discrete",
        capabilities=emu3.CAPABILITIES,
        defaults=emu3.DEFAULTS,
        paper="Wang et al. 2024 (arXiv 2409.18869)",
    )
    register(
        "janus",
        lazy("silmm_plugins.models.janus.model:Janus.load"),
        options=janus.JanusOptions,
        summary="Janus and Janus-Pro (1B, 7B): image tokens and answers by one language model.",
        kind="discrete",
        capabilities=janus.CAPABILITIES,
        paper="ours; the most used open model of the paper's kind",
    )
    register(
        "seed-llama",
        lazy("silmm_plugins.models.seed_llama.model:SeedLlama.load"),
        options=seed_llama.SeedLlamaOptions,
        summary="SEED-LLaMA 8B and 14B: images as 32 codes, sampled by unCLIP; needs --model seed-llama:DIR.",
        kind="discrete",
        capabilities=seed_llama.CAPABILITIES,
        paper="Sec. 4.1 (SEED-LLaMA-8B)",
    )
