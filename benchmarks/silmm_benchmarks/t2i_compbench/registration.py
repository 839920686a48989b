"""Registers the benchmark `t2i-compbench`; nothing heavy is imported until it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm.contracts.benchmarks import BenchmarkOptions
from silmm.contracts.options import option

if TYPE_CHECKING:
    from silmm.contracts.benchmarks import Benchmark
    from silmm.contracts.registration import Register


class T2ICompBenchOptions(BenchmarkOptions):
    """Which prompts are read."""

    custom: bool = option(
        False, "read your own prompts: files named as the official ones, of any length, parsed by spaCy"
    )


def register_t2i_compbench(register: Register) -> None:
    """Register it."""
    summary = "T2I-CompBench++: eight columns of compositional prompts"
    register("t2i-compbench", _build, summary=summary, options=T2ICompBenchOptions, paper="Table 1")


def _build(options: T2ICompBenchOptions) -> Benchmark:
    from silmm_benchmarks.t2i_compbench.benchmark import T2ICompBench

    return T2ICompBench(official=not options.custom)
