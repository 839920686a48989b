"""Registers `unidet-r50` and `unidet-rs200`; torch is imported when one of them is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm_benchmarks.judges.unidet.architecture import R50, RS200
from silmm_benchmarks.judges.unidet.options import UniDetOptions

if TYPE_CHECKING:
    from silmm.registry import Register
    from silmm_benchmarks.judges.interfaces import Detector


def register_unidet(register: Register) -> None:
    """Register both networks."""
    register(
        R50.name, _r50, summary="UniDet R50, the official detector of 3D-spatial and numeracy",
        options=UniDetOptions,
    )  # fmt: skip
    register(
        RS200.name, _rs200, summary="UniDet ResNeSt-200, the official detector of 2D-spatial",
        options=UniDetOptions,
    )  # fmt: skip


def _r50(options: UniDetOptions) -> Detector:
    from silmm_benchmarks.judges.unidet.judge import UniDetJudge

    return UniDetJudge(R50, options)


def _rs200(options: UniDetOptions) -> Detector:
    from silmm_benchmarks.judges.unidet.judge import UniDetJudge

    return UniDetJudge(RS200, options)
