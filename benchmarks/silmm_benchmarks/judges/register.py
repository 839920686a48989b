"""Registers the judges whose models are in open libraries; nothing heavy is imported until one is built."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from silmm_benchmarks.judges.options import (
    BaseModelOptions,
    BlipVqaOptions,
    ColourOptions,
    DetectorOptions,
    JudgeOptions,
    Mask2FormerOptions,
    MatcherOptions,
)

if TYPE_CHECKING:
    from silmm.contracts.registration import Register
    from silmm.probe import Prober

_ANSWERING = {
    "blip-vqa-base": ("blip", "BLIP VQA base"),
    "blip-vqa-large": ("blip", "BLIP VQA, CapFilt-large"),
    "git-base": ("git", "GIT base, VQAv2"),
    "git-large": ("git", "GIT large, VQAv2"),
    "vilt": ("vilt", "ViLT B/32, VQAv2"),
    "blip2-flant5xl": ("blip2", "BLIP-2 with Flan-T5-XL, shown the choices"),
}
"""Judge -> family, title."""


def _blip_vqa(options: BlipVqaOptions) -> Any:
    from silmm_benchmarks.judges.blip_vqa import BlipVqa

    return BlipVqa.load(options)


def _clip(options: JudgeOptions) -> Any:
    from silmm_benchmarks.judges.clip_similarity import ClipSimilarity

    return ClipSimilarity.load(options)


def _depth(options: JudgeOptions) -> Any:
    from silmm_benchmarks.judges.dpt_depth import DptDepth

    return DptDepth.load(options)


def _matcher(options: MatcherOptions) -> Any:
    from silmm_benchmarks.judges.answer_matching import MpnetMatcher

    return MpnetMatcher.load(options)


def _base_model(options: BaseModelOptions) -> Any:
    from silmm_benchmarks.judges.base_model import BaseModelJudge

    return BaseModelJudge.load(options)


def _mask2former(options: Mask2FormerOptions) -> Any:
    from silmm_benchmarks.judges.mask2former.judge import Mask2FormerJudge

    return Mask2FormerJudge.load(options)


def _clip_colours(options: ColourOptions) -> Any:
    from silmm_benchmarks.judges.clip_colours import ClipColours

    return ClipColours.load(options)


def _detector(options: DetectorOptions) -> Any:
    from silmm_benchmarks.judges.transformers_detector import TransformersDetector

    return TransformersDetector.load(options)


def _prober(name: str) -> Prober:
    from silmm_benchmarks.judges.probing import JudgeProber

    return JudgeProber(name)


def _blip_vqa_prober() -> Prober:
    from silmm_benchmarks.judges.blip_probing import BlipVqaProber

    return BlipVqaProber("blip-vqa")


def _answering(family: str, name: str, options: JudgeOptions) -> Any:
    """Build a judge of class `Blip2Answers` in module `blip2_answers` for the family "blip2"."""
    module = import_module(f"silmm_benchmarks.judges.{family}_answers")
    return getattr(module, f"{family.capitalize()}Answers").load(name, options)


def register_judges(register: Register) -> None:
    """Register the judges of open libraries."""
    register(
        "blip-vqa", _blip_vqa, options=BlipVqaOptions, probe=_blip_vqa_prober,
        summary="P(yes) of BLIP-VQA at 480 px: T2I-CompBench++'s attributes and complex (official)",
    )
    register(
        "clip-vit-b-32", _clip, options=JudgeOptions, probe=partial(_prober, "clip-vit-b-32"),
        summary="cosine of OpenAI's CLIP ViT-B/32: T2I-CompBench++'s non-spatial and complex (official)",
    )
    register(
        "dpt-hybrid", _depth, options=JudgeOptions, probe=partial(_prober, "dpt-hybrid"),
        summary="inverse depth of DPT-Hybrid MiDaS: T2I-CompBench++'s 3D-spatial (official)",
    )
    register(
        "mpnet-match", _matcher, options=MatcherOptions, probe=partial(_prober, "mpnet-match"),
        summary="nearest choice by all-mpnet-base-v2: TIFA's answers (official)",
    )
    register(
        "mask2former", _mask2former, options=Mask2FormerOptions, probe=partial(_prober, "mask2former"),
        summary="Mask2Former with Swin-S of mmdet 2: GenEval's objects (official)",
    )
    register(
        "clip-l14", _clip_colours, options=ColourOptions, probe=partial(_prober, "clip-l14"),
        summary="colours of objects by OpenAI's CLIP ViT-L/14: GenEval's colors and color_attr (official)",
    )
    for name, (family, title) in _ANSWERING.items():
        register(
            name, partial(_answering, family, name), options=JudgeOptions, probe=partial(_prober, name),
            summary=f"free answers of {title} (one of TIFA's models)",
        )
    register(
        "base-model", _base_model, options=BaseModelOptions, probe=partial(_prober, "base-model"),
        summary="any base model of silmm, by its own reading of images (not official)",
    )
    register(
        "detector", _detector, options=DetectorOptions, probe=partial(_prober, "detector"),
        summary="any detector of transformers: Grounding DINO, OWLv2, RT-DETR (not official)",
    )
