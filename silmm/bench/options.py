"""Options of TIFA and DPG-Bench, apart so that listing them loads nothing heavy."""

from __future__ import annotations

from pydantic import Field

from silmm.contracts.options import Options


class TifaOptions(Options):
    """Which captions are scored."""

    custom: bool = Field(False, description="captions and questions of your own, not the official ones")


class DpgBenchOptions(Options):
    """How the image files are cut, and which prompts are scored."""

    resolution: int | None = Field(
        None, ge=1, description="side of one image of a grid; None takes it from the file's own size",
        json_schema_extra={"unit": "pixels"},
    )
    images: int = Field(4, ge=1, le=4, description="images in a file (the official --pic-num)")
    custom: bool = Field(False, description="prompts and questions of your own in place of the official ones")
