"""Registers the benchmark `dpg-bench`; nothing heavy is imported until it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm.contracts.benchmarks import BenchmarkOptions
from silmm.contracts.options import option

if TYPE_CHECKING:
    from silmm.contracts.benchmarks import Benchmark
    from silmm.contracts.registration import Register


class DpgBenchOptions(BenchmarkOptions):
    """How the image files are cut, and which prompts are scored."""

    resolution: int | None = option(
        None, "side of one image of a grid; None takes it from the file's own size", ge=1, unit="pixels"
    )
    images: int = option(4, "images in a file (the official --pic-num)", ge=1, le=4)
    custom: bool = option(False, "prompts and questions of your own in place of the official ones")


def register_dpg_bench(register: Register) -> None:
    """Register it."""
    summary = "DPG-Bench: questions about 1,065 dense prompts"
    register("dpg-bench", _build, summary=summary, options=DpgBenchOptions, paper="Table 1")


def _build(options: DpgBenchOptions) -> Benchmark:
    from silmm_benchmarks.dpg_bench.benchmark import DpgBench

    return DpgBench(resolution=options.resolution, images=options.images, official=not options.custom)
