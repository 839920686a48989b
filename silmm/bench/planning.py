"""What a run has to do, counted from prompts and names of files: nothing is drawn, opened or asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from silmm.bench.judging import queries
from silmm.bench.requests import LEFT_OUT
from silmm.bench.sampling import Drawn
from silmm.contracts.benchmarks import Item, PictureBenchmark, Problem


def size_of(name: str, items: Sequence[Item]) -> str:
    """Return how much is scored in all."""
    return f"{name}: {len(items):,} prompts, {sum(item.images for item in items):,} pictures"


def to_draw(files: Sequence[Drawn], price: float | None) -> str:
    """Return how many pictures are there and how many are to be drawn, and what these cost."""
    total = sum(len(one.indices) for one in files)
    waiting = sum(len(one.indices) for one in files if not one.path.is_file())
    cost = "" if price is None else f", at {price:g} each about {waiting * price:,.2f}"
    return f"  {total - waiting:,} pictures are there, {waiting:,} are to be drawn{cost}"


def there(found: int, problems: Sequence[Problem]) -> str:
    """Return how many pictures were found by name, and what is wrong with the folder."""
    counts = Counter(problem.kind for problem in problems)
    return ", ".join([f"  {found:,} pictures are there", *(f"{n:,} {kind}" for kind, n in counts.items())])


def to_ask(benchmark: PictureBenchmark, items: Sequence[Item], judges: Mapping[str, str]) -> list[str]:
    """Return what each role is asked about all pictures, one line each.

    Args:
        benchmark: says what is asked.
        items: the prompts.
        judges: role → judge, of the roles that are needed.
    """
    pictures, questions = Counter[str](), Counter[str]()
    for item in items:
        for request in benchmark.requests(item):
            pictures[request.judge] += item.images
            questions[request.judge] += item.images * len(queries(request))
    lines = []
    for role, judge in judges.items():
        if judge == LEFT_OUT:
            lines.append(f"  {role}: nobody, so its columns have no number")
        elif role in pictures:
            lines.append(f"  {role}: {judge}, {questions[role]:,} questions, {pictures[role]:,} pictures")
        else:
            lines.append(f"  {role}: {judge}, asked about answers of others")
    return lines
