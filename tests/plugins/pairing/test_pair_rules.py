"""Promises of the pair rules: top against last, ranks as in Table 7, hard negatives, no pair without difference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from silmm_plugins.pairing.pair_rules import Margin, MarginOptions, TopLast, TopLastOptions

from silmm.contracts.candidates import Candidate, Prompt


def candidates(scores: list[float | None]) -> list[Candidate]:
    return [
        Candidate(Prompt("a", "x"), index, index, index, np.array([index]), (), score=score)
        for index, score in enumerate(scores)
    ]


def pairs(scores: list[float | None], **options: object) -> list[tuple[int, int]]:
    made = TopLast(TopLastOptions(**options)).pairs(candidates(scores))
    return [(pair.chosen, pair.rejected) for pair in made]


def hard_pairs(scores: list[float | None], **options: object) -> list[tuple[int, int]]:
    made = Margin(MarginOptions(**options)).pairs(candidates(scores))
    return [(pair.chosen, pair.rejected) for pair in made]


def test_the_default_is_the_best_against_the_worst() -> None:
    """SEED-LLaMA's setting: one pair a prompt."""
    assert pairs([0.1, 0.9, -0.3, 0.5]) == [(1, 2)]


def test_k_by_k() -> None:
    """k = 2: four pairs, the best with the worst first."""
    assert pairs([0.1, 0.9, -0.3, 0.5], k=2) == [(1, 2), (1, 0), (3, 2), (3, 0)]


def test_the_sides_may_differ() -> None:
    """Shape 1x3 pairs the best with the three worst."""
    assert pairs([0.4, 0.3, 0.2, 0.1], shape="1x3") == [(0, 3), (0, 2), (0, 1)]


@pytest.mark.parametrize(("ranks", "expected"), [("20-30", range(20, 30)), ("14-24", range(14, 24))])
def test_rejected_ranks_of_table_7(ranks: str, expected: range) -> None:
    """Of 30 candidates, 20-30 are the last ten (ranks 21 to 30) and 14-24 the ranks 15 to 24."""
    scores = [1.0 - i / 30 for i in range(30)]
    actual = pairs(scores, k=10, rejected=ranks)
    assert len(actual) == 100
    assert {chosen for chosen, _ in actual} == set(range(10))
    assert {rejected for _, rejected in actual} == set(expected)


def test_candidates_without_a_score_take_no_rank() -> None:
    """They are neither best nor worst, and do not use up a rank."""
    assert pairs([None, 0.2, 0.8, None, 0.5]) == [(2, 1)]
    assert pairs([None, 0.9, 0.8, 0.7], rejected="1-2") == [(1, 2)]
    assert pairs([None, None]) == []
    assert hard_pairs([None, 0.9, None, 0.1]) == [(1, 3)]


def test_equal_scores_make_no_pair() -> None:
    """The paper asks for s(chosen) > s(rejected): candidates that are alike make no pair."""
    assert pairs([0.5, 0.5, 0.5], k=2) == []
    assert pairs([0.5]) == []


def test_ties_rank_by_candidate() -> None:
    """Of two best the first is chosen, of two worst the last is rejected."""
    assert pairs([0.9, 0.1, 0.9, 0.1]) == [(0, 3)]


def test_the_margin_leaves_close_pairs_out() -> None:
    """Pairs closer than the margin are dropped, one at exactly the margin is kept."""
    assert pairs([1.0, 0.75, 0.5], shape="1x2", margin=0.5) == [(0, 2)]


def test_a_hard_negative_is_the_nearest_below_the_gap() -> None:
    """Each chosen meets the best candidates that are worse by the gap or more; the gap itself counts."""
    scores = [1.0, 0.75, 0.5, 0.25, 0.0]
    assert hard_pairs(scores, gap=0.5) == [(0, 2)]
    assert hard_pairs(scores, gap=0.5, k=2, negatives=2) == [(0, 2), (0, 3), (1, 3), (1, 4)]
    assert hard_pairs(scores, gap=1.5) == []


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.one_of(st.floats(-1, 1), st.none()), max_size=12),
    st.integers(1, 6),
    st.sampled_from(["last", "1-4", "3-8"]),
)
def test_every_pair_is_a_real_preference(scores: list[float | None], k: int, ranks: str) -> None:
    """Whatever the scores: chosen above rejected, both finite, no pair twice."""
    actual = pairs(scores, k=k, rejected=ranks)
    assert len(set(actual)) == len(actual) <= k * k
    hard = hard_pairs(scores, k=k, negatives=2, gap=0.05)
    assert len(set(hard)) == len(hard) <= 2 * k
    for chosen, rejected in actual + hard:
        assert scores[chosen] > scores[rejected]


@pytest.mark.parametrize(
    "options",
    [
        {"shape": "10"},
        {"shape": "0x2"},
        {"rejected": "30-20"},
        {"rejected": "first"},
        {"k": 0},
    ],
)
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    """A shape or a range that means nothing is an error before anything runs."""
    with pytest.raises(ValidationError):
        TopLastOptions(**options)
