"""The options of the benchmark `shapes`, apart so that listing them imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from silmm.contracts.benchmarks import BenchmarkOptions
from silmm.contracts.options import option


class ShapesOptions(BenchmarkOptions):
    """How the shapes benchmark samples and asks."""

    split: Literal["report", "tune"] = option(
        "report", "which held-out prompts: report for figures, tune for choosing settings"
    )
    temperature: float = option(1.0, "the base's own best, chosen on tune prompts; for both sides", gt=0)
    top_p: float = option(1.0, "the base's own best, chosen on tune prompts", gt=0, le=1)
    images: int = option(4, "images per prompt at that setting", ge=1, unit="images")
    images_at_temperature_1: int = option(
        2, "silmm run: images per prompt at temperature 1, top_p 1; 0: none", ge=0, unit="images"
    )
    questions: int = option(
        6, "silmm run: questions about each clean held-out scene; 0: none", ge=0, unit="questions"
    )
    batch_size: int = option(256, "silmm run: images sampled at once", ge=1, unit="images")
