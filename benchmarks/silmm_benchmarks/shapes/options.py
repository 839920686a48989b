"""The options of the benchmark `shapes`, apart so that listing them loads nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from silmm.contracts.options import Options


class ShapesOptions(Options):
    """How the shapes benchmark samples and asks."""

    split: Literal["report", "tune"] = Field(
        default="report",
        description="which held-out prompts: report for figures, tune for choosing settings",
    )
    temperature: float = Field(
        default=1.0, gt=0, description="the base's own best, chosen on tune prompts; for both sides"
    )
    top_p: float = Field(
        default=1.0, gt=0, le=1, description="the base's own best, chosen on tune prompts"
    )
    images: int = Field(
        default=4, ge=1, description="images of each prompt at that setting",
        json_schema_extra={"unit": "images"},
    )
    images_at_temperature_1: int = Field(
        default=2, ge=0, description="images of each prompt at temperature 1, top_p 1; 0 = none",
        json_schema_extra={"unit": "images"},
    )
    questions: int = Field(
        default=6, ge=0, description="questions about each clean held-out scene; 0 = none",
        json_schema_extra={"unit": "questions"},
    )
    batch: int = Field(
        default=256, ge=1, description="images sampled at once",
        json_schema_extra={"unit": "images"},
    )
