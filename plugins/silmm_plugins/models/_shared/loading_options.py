"""Options of every base model with real weights: where they come from and go to, in which number format."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field

from silmm.contracts.options import Options

Dtype: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]
Offload: TypeAlias = Literal["training", "always", "never"]


class LoadingOptions(Options):
    """The checkpoint, which a model describes anew, and what decides about memory.

    What decides about memory changes no result but for rounding.
    """

    path: str = Field(
        default="",
        description="folder of the checkpoint, or its hub id",
        json_schema_extra={"paper": "ours", "unit": "", "checkpoint": {"revision": "revision"}},
    )
    revision: str | None = Field(
        default=None,
        description="where `path` is a hub id: a branch, a tag or a commit of it",
        json_schema_extra={"paper": "ours", "unit": ""},
    )
    device: str = Field(
        default="auto",
        description="where the weights are put: cpu, cuda, cuda:1, …; auto: a GPU if there is one; "
        "several, as cuda:0,cuda:1: the language model's layers are spread over them",
        json_schema_extra={"paper": "ours", "unit": ""},
    )
    dtype: Dtype = Field(
        default="auto",
        description="number format of the weights; auto is the checkpoint's own",
        json_schema_extra={"paper": "ours", "unit": ""},
    )
    offload: Offload = Field(
        default="training",
        description="when the parts that are never trained leave the GPU for main memory: while the model is "
        "trained; always, when they have no work; or never",
        json_schema_extra={"paper": "ours", "unit": ""},
    )
