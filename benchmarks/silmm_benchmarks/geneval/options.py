"""The options of the benchmark `geneval`, apart so that listing them loads nothing heavy."""

from __future__ import annotations

from silmm.contracts.options import Options, option
from silmm_benchmarks.judges.mask2former.labels import LEAST_SCORE


class GenEvalOptions(Options):
    """The official script's options, and which prompts are scored."""

    threshold: float = option(0.3, "score that an object needs to exceed", ge=LEAST_SCORE, le=1)
    counting_threshold: float = option(0.9, "the same for prompts of the tag counting", ge=LEAST_SCORE, le=1)
    max_objects: int = option(16, "objects of a class that are kept, the best ones", ge=1)
    max_overlap: float = option(1.0, "IoU from which the weaker of two objects is dropped; 1 drops none", ge=0)
    position_threshold: float = option(0.1, "share of both extents that is taken off an offset")
    images: int = option(4, "images per prompt", ge=1)
    custom: bool = option(False, "prompts of your own in the form of evaluation_metadata.jsonl, of any number")
