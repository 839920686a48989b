"""The order of the training data: from the seed alone, so that any step can be found again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from silmm.seeds import derive


def epochs(count: int, seed: int) -> Iterator[int]:
    """Yield positions 0..count-1 for ever, each epoch in its own permutation."""
    epoch = 0
    while True:
        order = np.random.default_rng(derive(seed, "epoch", epoch)).permutation(count)
        yield from (int(i) for i in order)
        epoch += 1


def batches(sizes: Sequence[int], batch: int, seed: int) -> Iterator[list[int]]:
    """Yield groups of prompts that hold `batch` pairs together, for ever.

    Args:
        sizes: pairs of each prompt, all at least 1.
        batch: pairs wanted in a batch.
        seed: of the permutations.

    A prompt's pairs stay together, since they share its likelihoods: a batch ends before the prompt
    that would carry it over `batch`, and a prompt with more pairs than that makes one alone.
    Batches run across the ends of epochs. No prompt comes twice in a batch.
    """
    current: list[int] = []
    pairs = 0
    for position in epochs(len(sizes), seed):
        if current and (pairs + sizes[position] > batch or position in current):
            yield current
            current, pairs = [], 0
        current.append(position)
        pairs += sizes[position]


def split(positions: Sequence[int], costs: Sequence[int], parts: int) -> list[list[int]]:
    """Split positions into at most `parts` non-empty runs of about equal total cost, in order."""
    total = sum(costs)
    runs: list[list[int]] = [[] for _ in range(parts)]
    before = 0
    for position, cost in zip(positions, costs, strict=True):
        # the middle of the item decides, so that no run is systematically the larger one
        runs[min(parts - 1, (2 * before + cost) * parts // (2 * total))].append(position)
        before += cost
    return [run for run in runs if run]
