"""Promises of step 4: Eq. 1 by hand, and never a number where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from silmm_plugins.scoring.scorers import DiffOfProb, RandomScore, RatioOfYes

from silmm.contracts.components import Scorer

ANSWERS = np.array([[0.9, 0.05], [0.2, 0.7], [0.4, 0.4]])
ALL = [DiffOfProb(), RatioOfYes(), RandomScore()]


def test_equation_1_by_hand() -> None:
    """(0.85 - 0.5 + 0) / 3."""
    assert DiffOfProb().score(ANSWERS, 0) == pytest.approx(0.35 / 3)


def test_ratio_of_yes_counts_clear_yeses() -> None:
    """One of three is a yes; a tie is none."""
    assert RatioOfYes().score(ANSWERS, 0) == pytest.approx(1 / 3)


def test_random_depends_on_the_seed_alone() -> None:
    """Other answers, same seed: the same score; other seeds spread over [-1, 1)."""
    scorer = RandomScore()
    assert scorer.score(ANSWERS, 7) == scorer.score(ANSWERS[:1], 7)
    values = [scorer.score(ANSWERS, seed) for seed in range(200)]
    assert len(set(values)) == 200
    assert abs(np.mean(values)) < 0.15
    assert -1 <= min(values) < -0.9 < 0.9 < max(values) < 1


@pytest.mark.parametrize("scorer", ALL)
@pytest.mark.parametrize(
    "answers",
    [
        np.empty((0, 2)),
        np.array([[np.nan, 0.5]]),
        np.array([[0.5, np.inf]]),
        np.array([0.5, 0.5]),
        np.array([[0.9, 0.9]]),
        np.array([[0.52, 0.51]]),
        np.array([[-0.1, 0.2]]),
    ],
)
def test_what_cannot_be_scored_is_an_error(scorer: Scorer, answers: np.ndarray) -> None:
    """No questions, a value that is not finite or no probability: ValueError, never a number."""
    with pytest.raises(ValueError, match=r"score|finite|shape|probabilit"):
        scorer.score(answers, 0)


@pytest.mark.parametrize("scorer", ALL)
def test_the_rounding_of_bfloat16_is_no_error(scorer: Scorer) -> None:
    """Probabilities of a softmax in bfloat16, whose sum may exceed 1, are scored."""
    logits = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0)).bfloat16()
    answers = logits.softmax(-1).double().numpy()
    assert answers.sum(1).max() > 1 + 1e-4
    assert np.isfinite(scorer.score(answers, 0))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 0.5), st.floats(0, 0.5)), min_size=1, max_size=8))
def test_scores_stay_in_range(rows: list[tuple[float, float]]) -> None:
    """Eq. 1 lies in [-1, 1], the ratio in [0, 1], whatever the answers."""
    answers = np.array(rows)
    assert -1 <= DiffOfProb().score(answers, 0) <= 1
    assert 0 <= RatioOfYes().score(answers, 0) <= 1
