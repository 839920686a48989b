"""Promises of the data order: every prompt in turn, the same for the same seed."""

from __future__ import annotations

from silmm_plugins.training.lora.batches import batches, epochs, split


def test_the_order_is_a_permutation_each_epoch_and_a_function_of_the_seed() -> None:
    """Every prompt comes once an epoch, in another order each time, the same for the same seed."""
    stream = epochs(7, seed=3)
    first, second = ([next(stream) for _ in range(7)] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(7))
    assert first != second
    again = epochs(7, seed=3)
    assert [next(again) for _ in range(7)] == first


def test_batches_keep_a_prompts_pairs_together() -> None:
    """Four pairs each and 10 wanted: two prompts a batch; a prompt of 100 pairs makes one alone."""
    stream = batches([4] * 6, 10, seed=0)
    assert all(len(next(stream)) == 2 for _ in range(6))
    big = batches([100, 100], 32, seed=0)
    assert [len(next(big)) for _ in range(4)] == [1, 1, 1, 1]


def test_few_prompts_never_come_twice_in_a_batch() -> None:
    """With fewer pairs than the batch wants, a batch is all of them once."""
    stream = batches([1, 1, 1], 32, seed=0)
    assert all(len(set(batch)) == len(batch) <= 3 for batch, _ in zip(stream, range(5), strict=False))


def test_split_balances_and_loses_nothing() -> None:
    """Micro-batches hold every prompt once and about the same number of sequences."""
    runs = split(list(range(8)), [4] * 8, 4)
    assert runs == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert split([5], [4], 4) == [[5]]
