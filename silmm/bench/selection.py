"""Which prompts are scored, and in which blocks: all, a few of each category, or one shard of them."""

from __future__ import annotations

from collections.abc import Sequence

from silmm.contracts.benchmarks import Item

BLOCK = 32
"""Images asked about, and committed, together: what a kill costs at most."""


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


def blocks(items: Sequence[Item]) -> list[list[Item]]:
    """Cut items into blocks of about :data:`BLOCK` images.

    Judges are asked block by block, and a shard is made of whole ones: batches, on which the last digits of
    a network depend, are the same in one run, in shards and after a kill.
    """
    found: list[list[Item]] = []
    images = BLOCK
    for item in items:
        if images >= BLOCK:
            found.append([])
            images = 0
        found[-1].append(item)
        images += item.images
    return found


def of_shard(items: Sequence[Item], shard: tuple[int, int] | None) -> list[Item]:
    """Return the items of the blocks whose place is i modulo n, all without a shard."""
    if shard is None:
        return list(items)
    return [item for block in blocks(items)[shard[0] :: shard[1]] for item in block]
