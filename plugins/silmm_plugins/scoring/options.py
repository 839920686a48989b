"""Options of the scorers; imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from silmm.contracts.options import Options, option


class VqaScoreOptions(Options):
    """Options of `vqascore`."""

    question: str = option(
        'Does this figure show "{}"? Please answer yes or no.',
        "the question about the whole prompt, which takes the place of {}",
        paper="Lin 2024 (arXiv 2404.01291)",
    )

    @field_validator("question")
    @classmethod
    def _check_question(cls, value: str) -> str:
        if value.count("{}") != 1:
            raise ValueError(f"{value!r} does not hold {{}} once, for the prompt")
        return value


class DualVqaScoreOptions(VqaScoreOptions):
    """Options of `vqascore-dual`."""

    mean: Literal["geometric", "arithmetic"] = option(
        "geometric", "how p(yes) of the whole prompt and the mean p(yes) of its own questions become one score"
    )


class RewardModelOptions(Options):
    """Options of `reward-model`."""

    checkpoint: str = option(
        "",
        "folder or hub id of a text-image model of transformers in the layout of CLIP, SigLIP or PickScore, with "
        "safetensors; such as yuvalkirstain/PickScore_v1",
        checkpoint={"revision": "revision", "required": True},
    )
    revision: str | None = option(None, "where `checkpoint` is a hub id: a branch, a tag or a commit of it")
    device: str = option("auto", "where the weights are put: cpu, cuda, cuda:1, …; auto: a GPU if there is one")
