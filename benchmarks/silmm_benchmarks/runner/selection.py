"""Which prompts are scored: all, a few of each category, or one shard of them."""

from __future__ import annotations

from collections.abc import Sequence

from silmm_benchmarks.runner.contracts import Item


def first_of_each(items: Sequence[Item], limit: int | None) -> list[Item]:
    """Return `limit` items, the first ones taken in turn from each category, in their own order.

    Every category that is there keeps at least one item.
    """
    if limit is None:
        return list(items)
    turn: dict[str, int] = {}
    ranked = []
    for position, item in enumerate(items):
        turn[item.category] = turn.get(item.category, 0) + 1
        ranked.append((turn[item.category], position))
    kept = sorted(position for _, position in sorted(ranked)[: max(limit, len(turn))])
    return [items[position] for position in kept]


def of_shard(items: Sequence[Item], shard: tuple[int, int] | None) -> list[Item]:
    """Return the items whose place is i modulo n, all without a shard."""
    if shard is None:
        return list(items)
    return list(items[shard[0] :: shard[1]])
