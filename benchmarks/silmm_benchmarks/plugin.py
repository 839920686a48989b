"""Registers the benchmarks that come with silmm; nothing heavy is imported until one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm import hookimpl
from silmm_benchmarks.data.catalogue import register_data
from silmm_benchmarks.judges.mplug.options import MPlugOptions
from silmm_benchmarks.judges.unidet.registration import register_unidet
from silmm_benchmarks.shapes.options import ShapesOptions

if TYPE_CHECKING:
    from silmm.interfaces import Benchmark
    from silmm.registry import Register
    from silmm_benchmarks.judges.interfaces import VqaJudge

SILMM_PLUGIN_API = 1


def _shapes(options: ShapesOptions) -> Benchmark:
    from silmm_benchmarks.shapes.benchmark import ShapesBenchmark

    return ShapesBenchmark(options)


@hookimpl
def silmm_register_benchmarks(register: Register) -> None:
    """Register the benchmark `shapes`."""
    register(
        "shapes",
        _shapes,
        summary="held-out compositions of coloured shapes, read by an exact judge without a model",
        options=ShapesOptions,
        requires=["yes_no"],
    )


def _mplug(options: MPlugOptions) -> VqaJudge:
    from silmm_benchmarks.judges.mplug.judge import build

    return build(options)


@hookimpl
def silmm_register_judges(register: Register) -> None:
    """Register the judges that benchmarks read pictures with."""
    register(
        "mplug",
        _mplug,
        summary="mPLUG VQA large, the official judge of TIFA and DPG-Bench",
        options=MPlugOptions,
    )
    register_unidet(register)


@hookimpl
def silmm_register_data(register: Register) -> None:
    """Register the official files that `silmm data` fetches."""
    register_data(register)
