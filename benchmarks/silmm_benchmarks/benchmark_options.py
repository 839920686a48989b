"""The options of the benchmarks, apart so that listing them imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from silmm.contracts.benchmarks import BenchmarkOptions
from silmm.contracts.options import option
from silmm_benchmarks.data.geneval_names import LEAST_SCORE


class OfficialOptions(BenchmarkOptions):
    """Whether the official prompts are scored."""

    custom: bool = option(
        False, "prompts (and questions) of your own in files of the official form, of any number, in place of the "
        "official ones"
    )


class DpgBenchOptions(OfficialOptions):
    """How the image files are cut, and which prompts are scored."""

    resolution: int | None = option(
        None, "side of one image of a grid; None takes it from the file's own size", ge=1, unit="pixels"
    )
    images: int = option(4, "images per file (the official --pic-num)", ge=1, le=4)


class GenEvalOptions(OfficialOptions):
    """The official script's options, and which prompts are scored."""

    threshold: float = option(0.3, "score that an object needs to exceed", ge=LEAST_SCORE, le=1)
    counting_threshold: float = option(0.9, "the same for prompts of the tag counting", ge=LEAST_SCORE, le=1)
    max_objects: int = option(16, "objects of a class that are kept, the best ones", ge=1)
    max_overlap: float = option(1.0, "IoU from which the weaker of two objects is dropped; 1 drops none", ge=0)
    position_threshold: float = option(0.1, "share of both extents that is taken off an offset")
    images: int = option(4, "images per prompt", ge=1)


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
