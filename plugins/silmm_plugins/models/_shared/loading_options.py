"""Options of every base model with real weights: the checkpoint, its device and its number format."""

from __future__ import annotations

from typing import Literal, TypeAlias

from silmm.contracts.options import Options, option

Dtype: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]
Offload: TypeAlias = Literal["training", "always", "never"]


class LoadingOptions(Options):
    """The checkpoint, which each model describes in its own words, and options of memory.

    Options of memory change results by rounding at most.
    """

    path: str = option("", "folder of the checkpoint, or its hub id", checkpoint={"revision": "revision"})
    revision: str | None = option(None, "a branch, a tag or a commit, where `path` is a hub id")
    device: str = option(
        "auto",
        "device of the weights: cpu, cuda, cuda:1, …; auto: a GPU if there is one; several, as cuda:0,cuda:1, share "
        "the language model's layers",
    )
    dtype: Dtype = option("auto", "number format of the weights; auto: the checkpoint's own")
    offload: Offload = option(
        "training",
        "when the parts that are never trained leave the GPU for main memory: while the model is trained; always, "
        "when they are idle; or never",
    )
