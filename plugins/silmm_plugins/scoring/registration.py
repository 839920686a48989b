"""Registration of the scorers; each is imported when it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm.contracts.registration import lazy
from silmm_plugins.scoring.options import DualVqaScoreOptions, RewardModelOptions, VqaScoreOptions

if TYPE_CHECKING:
    from silmm.contracts.registration import Register

_ANSWER_SCORER = "silmm.contracts.components:AnswerScorer"


def register_scorers(register: Register) -> None:
    """Register `diff-of-prob`, `ratio-of-yes`, `random`, `vqascore`, `vqascore-dual` and `reward-model`."""
    register(
        "diff-of-prob",
        lazy(_ANSWER_SCORER, lazy("silmm_plugins.scoring.scorers:diff_of_prob")),
        paper="Eq. 1",
        summary="Mean of p(yes) - p(no) over the questions.",
    )
    register(
        "ratio-of-yes",
        lazy(_ANSWER_SCORER, lazy("silmm_plugins.scoring.scorers:ratio_of_yes")),
        paper="Table 2",
        summary="Share of the questions that are answered yes.",
    )
    register(
        "random",
        lazy("silmm_plugins.scoring.scorers:RandomScore"),
        paper="Table 2",
        summary="A number of the seed alone: the control that must not improve anything.",
    )
    register(
        "vqascore",
        lazy("silmm_plugins.scoring.vqascore:VqaScore"),
        options=VqaScoreOptions,
        needs=["images"],
        requires=["yes_no"],
        paper="ours; Lin 2024 (arXiv 2404.01291)",
        summary="p(yes) to one question about the whole prompt.",
    )
    register(
        "vqascore-dual",
        lazy("silmm_plugins.scoring.vqascore:DualVqaScore"),
        options=DualVqaScoreOptions,
        needs=["answers", "images"],
        paper="ours; after Lin 2024 (arXiv 2404.01291) and Eq. 1",
        summary="p(yes) of the whole prompt combined with that of the prompt's own questions.",
    )
    register(
        "reward-model",
        lazy("silmm_plugins.scoring.reward_model:RewardModel"),
        options=RewardModelOptions,
        needs=["images"],
        paper="ours; CLIPScore (arXiv 2104.08718), PickScore (arXiv 2305.01569)",
        summary="The logit of a text-image model of transformers: CLIP, SigLIP, PickScore.",
    )
