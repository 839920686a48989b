"""The options of the judge `mplug`, apart so that listing them loads nothing heavy."""

from __future__ import annotations

from typing import Literal

from silmm.contracts.options import Options, option


class MPlugOptions(Options):
    """Where mPLUG's files lie and how it computes."""

    weights: str = option(
        "",
        "folder of config.yaml, config_bert.json, vocab.txt and pytorch_model.bin; empty = mplug in the data "
        "folder (SILMM_DATA)",
    )
    device: str = option("auto", "auto, cpu, cuda or cuda:N; auto takes a GPU if there is one")
    dtype: Literal["float32", "bfloat16"] = option(
        "float32", "float32 gives the official answers; bfloat16 may give others"
    )
    batch: int = option(16, "questions of one image that are asked at once", ge=1, unit="questions")
