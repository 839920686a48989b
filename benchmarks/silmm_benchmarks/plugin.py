"""Registers the benchmarks that come with silmm; nothing heavy is imported until one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm import hookimpl
from silmm_benchmarks.shapes.options import ShapesOptions

if TYPE_CHECKING:
    from silmm.interfaces import Benchmark
    from silmm.registry import Register

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
