"""The options of the judge `mplug`, apart so that listing them loads nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from silmm.contracts.options import Options


class MPlugOptions(Options):
    """Where mPLUG's files lie and how it computes."""

    weights: str = Field(
        default="",
        description="folder of config.yaml, config_bert.json, vocab.txt and pytorch_model.bin; "
        "empty = mplug in the data folder (SILMM_DATA)",
    )
    device: str = Field(
        default="auto", description="auto, cpu, cuda or cuda:N; auto takes a GPU if there is one"
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32", description="float32 gives the official answers; bfloat16 may give others"
    )
    batch: int = Field(
        default=16, ge=1, description="questions of one image that are asked at once",
        json_schema_extra={"unit": "questions"},
    )
