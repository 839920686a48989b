"""The options of the two judges, apart so that listing them loads nothing heavy."""

from __future__ import annotations

from typing import Literal

from silmm.contracts.options import Options, option


class UniDetOptions(Options):
    """Where UniDet's files lie and how it computes."""

    weights: str = option(
        "",
        "the official checkpoint (.pth), or the same as .safetensors, or the folder of the former; empty = the "
        "folder of the judge's name in the data folder (SILMM_DATA)",
    )
    labels: str = option(
        "", "the 722 names: the official detection_features.pt, or a JSON list; empty = the former beside the weights"
    )
    device: str = option("auto", "auto, cpu, cuda or cuda:N; auto takes a GPU if there is one")
    precision: Literal["float32", "bfloat16", "float16"] = option(
        "float32",
        "of the networks; boxes and pooling are always float32. Official numbers were made in float16; scores of "
        "the others differ by about 0.001",
    )
    colours: Literal["official", "corrected"] = option(
        "official",
        "official: BGR for both networks, as the benchmark feeds them; corrected: RGB for unidet-rs200, which was "
        "trained on it",
    )
    nms: Literal["official", "exact"] = option(
        "official", "official: classes are shifted apart in float32, which rounds boxes; exact: they are not"
    )
    repair_variances: bool = option(
        False, "raise variances that are not above 0 to 1e-12 instead of refusing the checkpoint"
    )
