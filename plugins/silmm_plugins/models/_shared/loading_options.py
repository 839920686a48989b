"""Options of every base model with real weights: where they come from and go to, in which number format."""

from __future__ import annotations

from typing import Literal, TypeAlias

from silmm.contracts.options import Options, option

Dtype: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]
Offload: TypeAlias = Literal["training", "always", "never"]


class LoadingOptions(Options):
    """The checkpoint, which a model describes anew, and what decides about memory.

    What decides about memory changes no result but for rounding.
    """

    path: str = option("", "folder of the checkpoint, or its hub id", checkpoint={"revision": "revision"})
    revision: str | None = option(None, "where `path` is a hub id: a branch, a tag or a commit of it")
    device: str = option(
        "auto",
        "where the weights are put: cpu, cuda, cuda:1, …; auto: a GPU if there is one; several, as cuda:0,cuda:1: "
        "the language model's layers are spread over them",
    )
    dtype: Dtype = option("auto", "number format of the weights; auto is the checkpoint's own")
    offload: Offload = option(
        "training",
        "when the parts that are never trained leave the GPU for main memory: while the model is trained; always, "
        "when they have no work; or never",
    )
