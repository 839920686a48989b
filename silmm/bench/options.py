"""Options of TIFA and DPG-Bench, apart so that listing them loads nothing heavy."""

from __future__ import annotations

from silmm.contracts.options import Options, option


class TifaOptions(Options):
    """Which captions are scored."""

    custom: bool = option(False, "captions and questions of your own, not the official ones")


class DpgBenchOptions(Options):
    """How the image files are cut, and which prompts are scored."""

    resolution: int | None = option(
        None, "side of one image of a grid; None takes it from the file's own size", ge=1, unit="pixels"
    )
    images: int = option(4, "images in a file (the official --pic-num)", ge=1, le=4)
    custom: bool = option(False, "prompts and questions of your own in place of the official ones")
