"""Registers the judges; nothing heavy is imported until one is built, probed or checked for its files."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from silmm_benchmarks.judges.options import (
    BaseModelOptions,
    BlipVqaOptions,
    DetectorOptions,
    JudgeOptions,
    MatcherOptions,
    MPlugOptions,
    UniDetOptions,
)
from silmm_benchmarks.judges.unidet.architecture import R50, RS200, Architecture

if TYPE_CHECKING:
    from silmm.contracts.options import Options
    from silmm.contracts.registration import Factory, Register
    from silmm.probe import Prober

_VQA = {
    "blip-vqa-base": ("blip", "BLIP VQA base"),
    "blip-vqa-large": ("blip", "BLIP VQA, CapFilt-large"),
    "git-base": ("git", "GIT base, VQAv2"),
    "git-large": ("git", "GIT large, VQAv2"),
    "vilt": ("vilt", "ViLT B/32, VQAv2"),
    "blip2-flant5xl": ("blip2", "BLIP-2 with Flan-T5-XL, shown the choices"),
}
"""Judge -> family, title."""


def register_judges(register: Register) -> None:
    """Register all judges of this package but the parser of the shapes world."""
    open_library: tuple[tuple[str, Factory, type[Options], Factory | None, str], ...] = (
        ("blip-vqa", _blip_vqa, BlipVqaOptions, _blip_vqa_prober,
         "P(yes) of BLIP-VQA at 480 px: T2I-CompBench++'s attributes and complex (official)"),
        ("clip-vit-b-32", _clip, JudgeOptions, None,
         "cosine of OpenAI's CLIP ViT-B/32: T2I-CompBench++'s non-spatial and complex (official)"),
        ("dpt-hybrid", _depth, JudgeOptions, None,
         "inverse depth of DPT-Hybrid MiDaS: T2I-CompBench++'s 3D-spatial (official)"),
        ("mpnet-match", _matcher, MatcherOptions, None,
         "nearest choice by all-mpnet-base-v2: TIFA's answers (official)"),
        *((name, partial(_vqa, family, name), JudgeOptions, None,
           f"free answers of {title} (one of TIFA's models)") for name, (family, title) in _VQA.items()),
        ("detector", _detector, DetectorOptions, None,
         "any detector of transformers: Grounding DINO, OWLv2, RT-DETR (not official)"),
    )
    for name, factory, options, prober, summary in open_library:
        register(
            name, factory, options=options, probe=prober or partial(_prober, name),
            require_files=partial(_require_weights, name), summary=summary,
        )
    register(
        "base-model", _base_model, options=BaseModelOptions, probe=partial(_prober, "base-model"),
        summary="any base model of silmm, by its own answers about images (not official)",
    )
    register(
        "mplug", _mplug, options=MPlugOptions, probe=_mplug_prober, require_files=_require_mplug,
        summary="mPLUG VQA large, the official judge of TIFA and DPG-Bench",
    )
    for architecture, columns in ((R50, "3D-spatial and numeracy"), (RS200, "2D-spatial")):
        network = "ResNeSt-200" if architecture is RS200 else "R50"
        register(
            architecture.name, partial(_unidet, architecture), options=UniDetOptions,
            probe=partial(_unidet_prober, architecture), require_files=partial(_require_unidet, architecture),
            summary=f"UniDet {network}, the official detector of {columns}",
        )


def _blip_vqa(options: BlipVqaOptions) -> Any:
    from silmm_benchmarks.judges.vqa.blip_vqa import BlipVqa

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
    from silmm_benchmarks.judges.base_model_judge import BaseModelJudge

    return BaseModelJudge.load(options)


def _detector(options: DetectorOptions) -> Any:
    from silmm_benchmarks.judges.transformers_detector import TransformersDetector

    return TransformersDetector.load(options)


def _vqa(family: str, name: str, options: JudgeOptions) -> Any:
    """Build a judge of class `Blip2Answers` in module `blip2_answers` for the family "blip2"."""
    module = import_module(f"silmm_benchmarks.judges.vqa.{family}_answers")
    return getattr(module, f"{family.capitalize()}Answers").load(name, options)


def _require_weights(name: str, options: JudgeOptions) -> None:
    from silmm_benchmarks.judges.weight_files import require_weights

    require_weights(name, options.weights)


def _prober(name: str) -> Prober:
    from silmm_benchmarks.judges.judge_probing import JudgeProber

    return JudgeProber(name)


def _blip_vqa_prober() -> Prober:
    from silmm_benchmarks.judges.vqa.blip_probing import BlipVqaProber

    return BlipVqaProber("blip-vqa")


def _mplug(options: MPlugOptions) -> Any:
    from silmm_benchmarks.judges.mplug.judge import build

    return build(options)


def _require_mplug(options: MPlugOptions) -> None:
    from silmm_benchmarks.judges.mplug.checkpoint import check_files
    from silmm_benchmarks.judges.mplug.judge import folder_of

    check_files(folder_of(options))


def _mplug_prober() -> Prober:
    from silmm_benchmarks.judges.mplug.probing import MPlugProber

    return MPlugProber("mplug")


def _unidet(architecture: Architecture, options: UniDetOptions) -> Any:
    from silmm_benchmarks.judges.unidet.judge import UniDetJudge

    return UniDetJudge(architecture, options)


def _require_unidet(architecture: Architecture, options: UniDetOptions) -> None:
    from silmm_benchmarks.judges.unidet.unidet_files import located, require_files

    require_files(architecture.name, *located(architecture.name, options.weights, options.labels))


def _unidet_prober(architecture: Architecture) -> Prober:
    from silmm_benchmarks.judges.unidet.probing import UniDetProber

    return UniDetProber(architecture)
