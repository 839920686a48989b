"""Registers the judges; nothing heavy is imported until one is built, probed or checked for its files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm.contracts.registration import lazy
from silmm_benchmarks.judges.options import (
    BaseModelOptions,
    BlipVqaOptions,
    ColourOptions,
    DetectorOptions,
    JudgeOptions,
    Mask2FormerOptions,
    MatcherOptions,
    MPlugOptions,
    UniDetOptions,
)
from silmm_benchmarks.judges.unidet.architecture import R50, RS200

if TYPE_CHECKING:
    from silmm.contracts.options import Options
    from silmm.contracts.registration import Register

_JUDGES = "silmm_benchmarks.judges"
_OPEN: dict[str, tuple[str, type[Options], str]] = {
    "blip-vqa": (
        "vqa.blip_vqa:BlipVqa.load", BlipVqaOptions,
        "P(yes) of BLIP-VQA at 480 px: T2I-CompBench++'s attributes and complex (official)",
    ),
    "clip-vit-b-32": (
        "clip_similarity:ClipSimilarity.load", JudgeOptions,
        "cosine of OpenAI's CLIP ViT-B/32: T2I-CompBench++'s non-spatial and complex (official)",
    ),
    "clip-l14": (
        "clip_colours:ClipColours.load", ColourOptions,
        "colours of objects by OpenAI's CLIP ViT-L/14: GenEval's colors and color_attr (official)",
    ),
    "dpt-hybrid": (
        "dpt_depth:DptDepth.load", JudgeOptions,
        "inverse depth of DPT-Hybrid MiDaS: T2I-CompBench++'s 3D-spatial (official)",
    ),
    "mask2former": (
        "mask2former.judge:Mask2FormerJudge.load", Mask2FormerOptions,
        "Mask2Former with Swin-S of mmdet 2: GenEval's objects (official)",
    ),
    "mpnet-match": (
        "answer_matching:MpnetMatcher.load", MatcherOptions,
        "nearest choice by all-mpnet-base-v2: TIFA's answers (official)",
    ),
    "detector": (
        "transformers_detector:TransformersDetector.load", DetectorOptions,
        "any detector of transformers: Grounding DINO, OWLv2, RT-DETR (not official)",
    ),
}
"""Judge of an open library -> its class method below this package, its options, its summary."""
_VQA = {
    "blip-vqa-base": ("blip_answers:BlipAnswers", "BLIP VQA base"),
    "blip-vqa-large": ("blip_answers:BlipAnswers", "BLIP VQA, CapFilt-large"),
    "git-base": ("git_answers:GitAnswers", "GIT base, VQAv2"),
    "git-large": ("git_answers:GitAnswers", "GIT large, VQAv2"),
    "vilt": ("vilt_answers:ViltAnswers", "ViLT B/32, VQAv2"),
    "blip2-flant5xl": ("blip2_answers:Blip2Answers", "BLIP-2 with Flan-T5-XL, shown the choices"),
}
"""Judge -> class, title."""


def register_judges(register: Register) -> None:
    """Register all judges of this package."""
    for name, (target, options, summary) in _OPEN.items():
        prober = "vqa.blip_probing:BlipVqaProber" if name == "blip-vqa" else "judge_probing:JudgeProber"
        register(
            name, lazy(f"{_JUDGES}.{target}"), options=options, summary=summary,
            probe=lazy(f"{_JUDGES}.{prober}", name),
            require_files=lazy(f"{_JUDGES}.weight_files:require_weights", name),
        )
    for name, (target, title) in _VQA.items():
        register(
            name, lazy(f"{_JUDGES}.vqa.{target}.load", name), options=JudgeOptions,
            probe=lazy(f"{_JUDGES}.judge_probing:JudgeProber", name),
            require_files=lazy(f"{_JUDGES}.weight_files:require_weights", name),
            summary=f"free answers of {title} (one of TIFA's models)",
        )
    register(
        "base-model", lazy(f"{_JUDGES}.base_model_judge:BaseModelJudge.load"), options=BaseModelOptions,
        probe=lazy(f"{_JUDGES}.judge_probing:JudgeProber", "base-model"),
        summary="any base model of silmm, by its own answers about images (not official)",
    )
    register(
        "mplug", lazy(f"{_JUDGES}.mplug.judge:build"), options=MPlugOptions,
        probe=lazy(f"{_JUDGES}.mplug.probing:MPlugProber", "mplug"),
        require_files=lazy(f"{_JUDGES}.mplug.judge:require_files"),
        summary="mPLUG VQA large, the official judge of TIFA and DPG-Bench",
    )
    unidet = ((R50, "R50", "3D-spatial and numeracy"), (RS200, "ResNeSt-200", "2D-spatial"))
    for architecture, network, columns in unidet:
        register(
            architecture.name, lazy(f"{_JUDGES}.unidet.judge:UniDetJudge", architecture), options=UniDetOptions,
            probe=lazy(f"{_JUDGES}.unidet.probing:UniDetProber", architecture),
            require_files=lazy(f"{_JUDGES}.unidet.unidet_files:require_options", architecture.name),
            summary=f"UniDet {network}, the official detector of {columns}",
        )
