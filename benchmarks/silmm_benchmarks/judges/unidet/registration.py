"""Registers `unidet-r50` and `unidet-rs200`; torch is imported when one of them is built or probed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from silmm_benchmarks.judges.unidet.architecture import R50, RS200, Architecture
from silmm_benchmarks.judges.unidet.options import UniDetOptions

if TYPE_CHECKING:
    from silmm.contracts.judges import Detector
    from silmm.contracts.registration import Register
    from silmm.probe import Prober


def register_unidet(register: Register) -> None:
    """Register both networks."""
    register(
        R50.name, partial(_build, R50), options=UniDetOptions, probe=partial(_prober, R50),
        summary="UniDet R50, the official detector of 3D-spatial and numeracy",
    )
    register(
        RS200.name, partial(_build, RS200), options=UniDetOptions, probe=partial(_prober, RS200),
        summary="UniDet ResNeSt-200, the official detector of 2D-spatial",
    )


def _build(architecture: Architecture, options: UniDetOptions) -> Detector:
    from silmm_benchmarks.judges.unidet.judge import UniDetJudge

    return UniDetJudge(architecture, options)


def _prober(architecture: Architecture) -> Prober:
    from silmm_benchmarks.judges.unidet.probing import UniDetProber

    return UniDetProber(architecture)
