"""Registration of the scorers; each is imported when it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm.contracts.components import AnswerScorer
from silmm_plugins.scoring.options import DualVqaScoreOptions, RewardModelOptions, VqaScoreOptions

if TYPE_CHECKING:
    from silmm.contracts.components import Scorer
    from silmm.contracts.options import NoOptions
    from silmm.contracts.registration import Register


def register_scorers(register: Register) -> None:
    """Register `diff-of-prob`, `ratio-of-yes`, `random`, `vqascore`, `vqascore-dual` and `reward-model`."""
    register(
        "diff-of-prob",
        _diff_of_prob,
        paper="Eq. 1",
        summary="Mean of p(yes) - p(no) over the questions.",
    )
    register(
        "ratio-of-yes",
        _ratio_of_yes,
        paper="Table 2",
        summary="Share of the questions that are answered yes.",
    )
    register(
        "random",
        _random,
        paper="Table 2",
        summary="A number of the seed alone: the control that must not improve anything.",
    )
    register(
        "vqascore",
        _vqascore,
        options=VqaScoreOptions,
        needs=["images"],
        requires=["yes_no"],
        paper="ours; Lin 2024 (arXiv 2404.01291)",
        summary="p(yes) to one question about the whole prompt.",
    )
    register(
        "vqascore-dual",
        _vqascore_dual,
        options=DualVqaScoreOptions,
        needs=["answers", "images"],
        paper="ours; after Lin 2024 (arXiv 2404.01291) and Eq. 1",
        summary="p(yes) of the whole prompt combined with that of the prompt's own questions.",
    )
    register(
        "reward-model",
        _reward_model,
        options=RewardModelOptions,
        needs=["images"],
        paper="ours; CLIPScore (arXiv 2104.08718), PickScore (arXiv 2305.01569)",
        summary="The logit of a text-image model of transformers: CLIP, SigLIP, PickScore.",
    )


def _diff_of_prob(options: NoOptions) -> Scorer:  # noqa: ARG001 - the factory contract
    from silmm_plugins.scoring.scorers import diff_of_prob

    return AnswerScorer(diff_of_prob)


def _ratio_of_yes(options: NoOptions) -> Scorer:  # noqa: ARG001 - the factory contract
    from silmm_plugins.scoring.scorers import ratio_of_yes

    return AnswerScorer(ratio_of_yes)


def _random(options: NoOptions) -> Scorer:  # noqa: ARG001 - the factory contract
    from silmm_plugins.scoring.scorers import RandomScore

    return RandomScore()


def _vqascore(options: VqaScoreOptions) -> Scorer:
    from silmm_plugins.scoring.vqascore import VqaScore

    return VqaScore(options)


def _vqascore_dual(options: DualVqaScoreOptions) -> Scorer:
    from silmm_plugins.scoring.vqascore import DualVqaScore

    return DualVqaScore(options)


def _reward_model(options: RewardModelOptions) -> Scorer:
    from silmm_plugins.scoring.reward_model import RewardModel

    return RewardModel(options)
