"""What a run has to do: which prompts it scores, in which blocks, and how much there is to sample and to ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from silmm.bench.image_generation import TargetFile
from silmm.bench.judging.roles import queries_of
from silmm.contracts.benchmarks import Benchmark, Item, Problem
from silmm.contracts.judges import LEFT_OUT

BLOCK = 32
"""Images asked about, and committed, together: the most that a kill costs."""


class _Categorised(Protocol):
    @property
    def category(self) -> str: ...


T = TypeVar("T", bound=_Categorised)


def first_of_each(items: Sequence[T], limit: int | None, at_least: int = 1) -> list[T]:
    """Return `limit` items, the first ones taken in turn from each category, in their own order.

    Every category keeps at least `at_least` items, if it has so many.
    """
    if limit is None:
        return list(items)
    counts: Counter[str] = Counter()
    ranked = []
    for position, item in enumerate(items):
        counts[item.category] += 1
        ranked.append((counts[item.category], position))
    kept = sorted(position for _, position in sorted(ranked)[: max(limit, at_least * len(counts))])
    return [items[position] for position in kept]


def blocks(items: Sequence[Item]) -> list[list[Item]]:
    """Cut items into blocks of about :data:`BLOCK` images.

    Judges are asked block by block, and a shard is made of whole blocks: batches, on which the last digits of
    a network depend, are the same in one run, in shards and after a kill.
    """
    parts: list[list[Item]] = []
    images = BLOCK
    for item in items:
        if images >= BLOCK:
            parts.append([])
            images = 0
        parts[-1].append(item)
        images += item.images
    return parts


def items_of_shard(items: Sequence[Item], shard: tuple[int, int] | None) -> list[Item]:
    """Return the items of the blocks whose number is i modulo n; without a shard all."""
    if shard is None:
        return list(items)
    return [item for block in blocks(items)[shard[0] :: shard[1]] for item in block]


def size_line(name: str, items: Sequence[Item]) -> str:
    """Say how many prompts and images are scored."""
    return f"{name}: {len(items):,} prompts, {sum(item.images for item in items):,} images"


def sampling_line(files: Sequence[TargetFile], price: float | None) -> str:
    """Say how many images exist, how many are to be sampled, and what these cost."""
    total = sum(len(file.indices) for file in files)
    waiting = sum(len(file.indices) for file in files if not file.path.is_file())
    cost = "" if price is None else f", at {price:g} each about {waiting * price:,.2f}"
    return f"  {total - waiting:,} images exist, {waiting:,} are to be sampled{cost}"


def folder_line(n_images: int, problems: Sequence[Problem]) -> str:
    """Say how many images were found by name, and what is wrong with the folder."""
    counts = Counter(problem.kind for problem in problems)
    return ", ".join([f"  {n_images:,} images exist", *(f"{n:,} {kind}" for kind, n in counts.items())])


def question_lines(benchmark: Benchmark, items: Sequence[Item], judges: Mapping[str, str]) -> list[str]:
    """Say how much each role is asked about all images, one line per role.

    Args:
        benchmark: gives the requests.
        items: the prompts.
        judges: role → judge, of the roles that are needed.
    """
    images, questions = Counter[str](), Counter[str]()
    for item in items:
        for request in benchmark.requests(item):
            images[request.judge] += item.images
            questions[request.judge] += item.images * len(queries_of(request))
    lines = []
    for role, judge in judges.items():
        if judge == LEFT_OUT:
            lines.append(f"  {role}: no judge, so that its columns have no number")
        elif questions[role]:
            lines.append(f"  {role}: {judge}, {questions[role]:,} questions, {images[role]:,} images")
        else:
            lines.append(f"  {role}: {judge}, asked about answers of other judges")
    return lines
