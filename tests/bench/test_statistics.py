"""What the statistics promise: known values, honest coverage, no silent numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silmm.bench import statistics
from silmm.bench.statistics import (
    auc,
    cluster_means,
    grouped_interval,
    mean_interval,
    paired_difference,
    ratio_interval,
    within_group_auc,
)


def test_images_of_a_prompt_are_averaged_before_anything_else():
    """A prompt with many images counts once, in order of first appearance."""
    names, means = cluster_means([1, 0, 0, 1, 1, 1], ["b", "a", "a", "b", "b", "b"])
    assert names == ["b", "a"]
    assert means.tolist() == [1.0, 0.0]


def test_difference_of_known_values():
    """Means, difference and n are the plain ones, and the interval is around the difference."""
    result = paired_difference([0.0, 0.5, 1.0, 0.5], [0.5, 1.0, 1.0, 0.5])
    assert (result.before, result.after, result.diff, result.n) == (0.5, 0.75, 0.25, 4)
    assert 0.0 <= result.ci_low < 0.25 < result.ci_high <= 0.5


def test_interval_agrees_with_the_normal_one_for_many_prompts():
    """For a well-behaved mean the percentile interval is close to mean ± 1.96 standard errors."""
    values = np.random.default_rng(1).normal(0.3, 2.0, 2000)
    low, high = mean_interval(values)
    half = 1.96 * values.std() / math.sqrt(2000)
    assert low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.05 * half)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    """Over repeated samples the 95% interval holds the true mean in 90-99% of them."""
    rng = np.random.default_rng(5)
    covered = 0
    for trial in range(200):
        low, high = mean_interval(rng.binomial(4, 0.6, 100) / 4, seed=trial, samples=500)
        covered += low <= 0.6 <= high
    assert 180 <= covered <= 198


def test_pairing_is_used():
    """A constant gain over very different prompts has an interval of no width."""
    before = np.random.default_rng(0).random(50)
    result = paired_difference(before, before + 0.1)
    assert result.ci_high - result.ci_low < 1e-9


def test_clusters_widen_the_interval():
    """Images of a prompt that agree are worth one observation, not four."""
    rng = np.random.default_rng(2)
    prompts = np.repeat(rng.integers(0, 2, 60), 4).astype(float)
    _, means = cluster_means(prompts, [str(i // 4) for i in range(240)])
    wide, narrow = mean_interval(means), mean_interval(prompts)
    assert wide[1] - wide[0] > 1.7 * (narrow[1] - narrow[0])


def test_same_seed_same_interval_other_seed_other_interval():
    """The resampling is a function of its seed alone."""
    values = np.random.default_rng(3).random(30)
    assert mean_interval(values, seed=7) == mean_interval(values, seed=7)
    assert mean_interval(values, seed=7) != mean_interval(values, seed=8)


def test_blocks_do_not_lose_samples(monkeypatch):
    """Memory blocks change neither the number nor the kind of the resamples."""
    monkeypatch.setattr(statistics, "_CELLS", 100)
    assert statistics._resampled_means(np.arange(30.0), 0, 1000).shape == (1000,)


def test_one_prompt_has_no_interval():
    """One prompt cannot be resampled, and the interval says so instead of having no width."""
    result = paired_difference([0.5], [0.75])
    assert result.diff == 0.25
    assert math.isnan(result.ci_low) and math.isnan(result.ci_high)


@pytest.mark.parametrize("bad", [[], [0.1, float("nan")], [float("inf"), 1.0]])
def test_nothing_and_not_finite_are_refused(bad):
    """An empty or non-finite list never becomes a number."""
    with pytest.raises(ValueError, match=r"finite|non-empty"):
        paired_difference(bad, bad)


def test_unequal_sides_are_refused():
    """A paired comparison of different prompts is an error that tells both counts."""
    with pytest.raises(ValueError, match="2 prompts and after 3"):
        paired_difference([0, 1], [0, 1, 1])


def test_ratio_interval_of_equal_counts_is_that_of_the_mean():
    """Where every prompt has as many questions, pooling them is averaging the prompts' means."""
    values = np.array([0.0, 1.0, 1.0, 0.5, 0.25])
    assert ratio_interval(values * 4, [4] * 5) == pytest.approx(mean_interval(values))


def test_ratio_interval_follows_the_prompts_with_many_questions():
    """The pooled ratio weighs a prompt by its questions, and its interval surrounds it."""
    sums, counts = [0, 0, 90, 80, 100, 10], [1, 1, 100, 100, 100, 100]
    low, high = ratio_interval(sums, counts)
    assert low < sum(sums) / sum(counts) < high
    assert ratio_interval([3, 4], [3, 4]) == (1.0, 1.0)
    assert all(math.isnan(end) for end in ratio_interval([1], [2]))


@pytest.mark.parametrize(("sums", "counts"), [([1, 2], [1]), ([1, 2], [1, 0]), ([], []), ([math.nan], [1])])
def test_ratio_interval_refuses_what_is_no_ratio(sums, counts):
    """Missing counts, empty clusters and NaN never become an interval."""
    with pytest.raises(ValueError, match=r"count > 0|non-empty|finite"):
        ratio_interval(sums, counts)


def test_grouped_interval_is_narrower_than_its_widest_group():
    """The mean of groups has the interval of its groups' means, independent of each other."""
    constant, varied = [0.5] * 20, [0.0, 1.0] * 10
    low, high = mean_interval(varied)
    assert grouped_interval([varied]) == (low, high)
    assert grouped_interval([constant, constant]) == (0.5, 0.5)
    half = 0.25 + mean_interval(varied, seed=1)[1] / 2
    assert grouped_interval([constant, varied])[1] == pytest.approx(half)
    both = grouped_interval([varied, varied])
    assert low < both[0] < 0.5 < both[1] < high
    assert all(math.isnan(end) for end in grouped_interval([[1.0], varied]))
    with pytest.raises(ValueError, match="0 groups"):
        grouped_interval([])


def test_auc_of_known_values():
    """Perfect order is 1, reversed 0, all ties 0.5, and one tie counts half."""
    assert auc([1, 2, 3, 4], [0, 0, 1, 1]) == 1.0
    assert auc([4, 3, 2, 1], [0, 0, 1, 1]) == 0.0
    assert auc([1, 1, 1, 1], [0, 1, 0, 1]) == 0.5
    assert auc([1, 2, 2, 3], [0, 0, 1, 1]) == pytest.approx(3.5 / 4)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_auc_is_the_count_of_won_pairs(cases):
    """The rank formula equals the definition, counted pair by pair."""
    scores, labels = [s for s, _ in cases], [t for _, t in cases]
    true = [s for s, t in cases if t]
    false = [s for s, t in cases if not t]
    if not true or not false:
        with pytest.raises(ValueError, match="at least one true and one false"):
            auc(scores, labels)
        return
    won = sum((a > b) + 0.5 * (a == b) for a in true for b in false)
    assert auc(scores, labels) == pytest.approx(won / (len(true) * len(false)))


def test_within_group_auc_ignores_differences_between_prompts():
    """A score that only knows which prompt is easy is at one half within prompts."""
    scores, labels = [9, 9, 9, 1, 1, 1], [1, 1, 0, 0, 0, 1]
    groups = ["easy"] * 3 + ["hard"] * 3
    assert auc(scores, labels) > 0.5
    assert within_group_auc(scores, labels, groups) == 0.5


def test_within_group_auc_needs_a_group_with_both():
    """Groups of one kind hold no pair, and without any pair there is no number."""
    with pytest.raises(ValueError, match="no group holds both"):
        within_group_auc([1, 2], [0, 1], ["a", "b"])
