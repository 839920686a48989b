"""The performance comparisons compare like with like, and say so where they do not."""

import pytest
import torch

from benchmarks.perf import dpo_steps, grouped_pairs, image_prefix, kernel_pairs, measure, workload


@pytest.fixture(scope="module")
def model():
    """A small model of the embedded one's architecture."""
    return workload.random_model(hidden=16, layers=1, heads=2, mlp=16, codes=12)


def test_grouped_and_single_pairs_are_one_step(model):
    """The grouped step and pair by pair give the same gradients, or the comparison would refuse."""
    dpo_steps.attach_adapter(model)
    row = grouped_pairs.compare(model, prompts=2, k=2, repeats=2)
    assert row.items == 8
    assert {len(seconds) for seconds in row.seconds.values()} == {2}


def test_grouped_and_single_pairs_of_features_are_one_step():
    """One forward pass a prompt and one a pair give the same gradients, or the comparison would refuse."""
    model = kernel_pairs.random_model(hidden=16, layers=2, heads=2, mlp=16, queries=4)
    dpo_steps.attach_adapter(model)
    row = kernel_pairs.compare(model, prompts=2, k=3, repeats=1)
    assert row.items == 18
    assert len(row.seconds) == 4


def test_other_pairs_of_features_are_refused():
    """The pair-by-pair rival on other pairs has other gradients, which the check must see."""
    model = kernel_pairs.random_model(hidden=16, layers=2, heads=2, mlp=16, queries=4)
    dpo_steps.attach_adapter(model)
    data = kernel_pairs.preferences(model, 2, 2)
    training = kernel_pairs.prepare(model, data)
    kernel_pairs.grouped_step(training, stored=True)
    actual = dpo_steps.gradients(training)
    kernel_pairs.pair_step(training, kernel_pairs.pair_by_pair(data[:1]), None)
    with pytest.raises(RuntimeError, match="cannot be compared"):
        dpo_steps.check_same_gradients(actual, dpo_steps.gradients(training))


def test_other_pairs_are_refused(model):
    """A step on other pairs has other gradients, which the check must see."""
    dpo_steps.attach_adapter(model)
    preferences = workload.preferences(model, 2, 2)
    actual = []
    for part in (preferences, preferences[:1]):
        training = dpo_steps.prepare(model, part)
        dpo_steps.step(training)
        actual.append(dpo_steps.gradients(training))
    with pytest.raises(RuntimeError, match="cannot be compared"):
        dpo_steps.check_same_gradients(*actual)


def test_a_step_that_is_timed_does_not_move_the_weights(model):
    """Every repeat starts from the same weights, so that all do the same work."""
    dpo_steps.attach_adapter(model)
    training = dpo_steps.prepare(model, workload.preferences(model, 1, 1))
    before = {name: p.detach().clone() for name, p in training.parameters.items()}
    dpo_steps.step(training)
    for name, parameter in training.parameters.items():
        torch.testing.assert_close(parameter, before[name], rtol=0, atol=1e-9)


def test_the_reference_is_the_model_without_its_adapter(model):
    """Reference values differ from the policy's, and gradients still reach the adapter afterwards."""
    dpo_steps.attach_adapter(model)
    training = dpo_steps.prepare(model, workload.preferences(model, 1, 1))
    assert training.parameters
    assert all(p.requires_grad for p in training.parameters.values())
    assert abs(dpo_steps.step(training)["margin"]) > 1e-6


def test_all_ways_of_asking_answer_alike(model):
    """Prefix reuse gives the answers of asking one by one, or the comparison would refuse."""
    row = image_prefix.compare(model, n_images=2, count=3, repeats=1)
    assert row.items == 6
    assert set(row.seconds) == set(image_prefix.WAYS)


def test_other_answers_are_refused(model, monkeypatch):
    """A way that answers otherwise is not timed."""
    monkeypatch.setitem(
        image_prefix.WAYS, "wrong", lambda *work: image_prefix.once(*work) + 0.01
    )
    with pytest.raises(RuntimeError, match="'wrong' answers otherwise"):
        image_prefix.compare(model, n_images=1, count=2, repeats=1)


def test_the_ways_take_turns():
    """Repeats are interleaved after one untimed call each, so that a slow spell hits every way."""
    calls = []
    seconds = measure.interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert calls == ["a", "b"] * 3
    assert [len(times) for times in seconds.values()] == [2, 2]


def test_a_ratio_is_taken_within_a_repeat():
    """A repeat that was slow for both leaves the ratio alone; the rate is the median's."""
    row = measure.Comparison("x", 10, {"ours": [1.0, 5.0, 2.0], "other": [2.0, 10.0, 6.0]})
    assert row.ratios("other") == [2.0, 2.0, 3.0]
    assert row.rate("ours") == 5.0
    assert "| x | 5.0 | 1.7 | **2.00** (2.00–3.00) |" in measure.table("pairs", [row])
