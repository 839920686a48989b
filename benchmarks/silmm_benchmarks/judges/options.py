"""Options that the judges share, apart so that listing them loads nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from silmm.contracts.options import Options

Precision = Literal["float32", "bfloat16", "float16"]


class JudgeOptions(Options):
    """Where a judge's weights lie and where it computes."""

    weights: str = Field(
        default="",
        description="file or folder of the weights; empty: the judge's folder under SILMM_DATA; "
        "hub:OWNER/NAME[@REVISION] downloads them",
    )
    device: str = Field(default="auto", description="auto, cpu, cuda or cuda:N; auto takes a GPU if any")
    dtype: Precision = Field(
        default="float32", description="float32 gives the official numbers; the others are faster on a GPU"
    )
    batch: int = Field(
        default=16, ge=1, description="images at once", json_schema_extra={"unit": "images"}
    )


class BlipVqaOptions(JudgeOptions):
    """BLIP-VQA of T2I-CompBench++."""

    tokenizer: str = Field(
        default="", description="folder with bert-base-uncased's vocab.txt; empty: beside the weights"
    )


class MatcherOptions(JudgeOptions):
    """MPNet answer matching of TIFA."""

    batch: int = Field(default=64, ge=1, description="texts at once", json_schema_extra={"unit": "texts"})


class BaseModelOptions(Options):
    """A base model of silmm as a judge."""

    model: str = Field(
        default="tiny-discrete", description="name of the base model, see `silmm plugins --kind model`"
    )
    settings: str = Field(
        default="{}", description='options of that model as a JSON object, for example {"folder": "DIR"}'
    )
    adapter: str = Field(default="", description="folder of a LoRA adapter; empty: the base model itself")
    size: int = Field(
        default=0, ge=0, description="images are scaled to this side first; 0: as they are",
        json_schema_extra={"unit": "pixels"},
    )


class DetectorOptions(JudgeOptions):
    """Any object detector of transformers; not the official one."""

    labels: str = Field(
        default="",
        description="what to look for, for detectors that read text: a JSON list file of names, or names "
        "with commas; empty: the model's own labels",
    )
    threshold: float = Field(default=0.1, ge=0, le=1, description="least score of a detection that is kept")
    most: int = Field(default=300, ge=1, description="most detections of an image, the best ones",
                      json_schema_extra={"unit": "detections"})
