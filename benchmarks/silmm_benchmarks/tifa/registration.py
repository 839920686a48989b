"""Registers the benchmark `tifa`; nothing heavy is imported until it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm.contracts.benchmarks import BenchmarkOptions
from silmm.contracts.options import option

if TYPE_CHECKING:
    from silmm.contracts.benchmarks import Benchmark
    from silmm.contracts.registration import Register


class TifaOptions(BenchmarkOptions):
    """Which captions are scored."""

    custom: bool = option(False, "captions and questions of your own in place of the official ones")


def register_tifa(register: Register) -> None:
    """Register it."""
    register("tifa", _build, summary="TIFA v1.0: questions about 4,081 captions", options=TifaOptions, paper="Table 1")


def _build(options: TifaOptions) -> Benchmark:
    from silmm_benchmarks.tifa.benchmark import Tifa

    return Tifa(official=not options.custom)
