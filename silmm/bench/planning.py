"""What a run has to do, counted from prompts and names of files: nothing is sampled, opened or asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from silmm.bench.judging import queries
from silmm.bench.requests import LEFT_OUT
from silmm.bench.sampling import SampledFile
from silmm.contracts.benchmarks import ImageBenchmark, Item, Problem


def size_of(name: str, items: Sequence[Item]) -> str:
    """Return how much is scored in all."""
    return f"{name}: {len(items):,} prompts, {sum(item.images for item in items):,} images"


def to_sample(files: Sequence[SampledFile], price: float | None) -> str:
    """Return how many images are there and how many are to be sampled, and what these cost."""
    total = sum(len(one.indices) for one in files)
    waiting = sum(len(one.indices) for one in files if not one.path.is_file())
    cost = "" if price is None else f", at {price:g} each about {waiting * price:,.2f}"
    return f"  {total - waiting:,} images are there, {waiting:,} are to be sampled{cost}"


def there(found: int, problems: Sequence[Problem]) -> str:
    """Return how many images were found by name, and what is wrong with the folder."""
    counts = Counter(problem.kind for problem in problems)
    return ", ".join([f"  {found:,} images are there", *(f"{n:,} {kind}" for kind, n in counts.items())])


def to_ask(benchmark: ImageBenchmark, items: Sequence[Item], judges: Mapping[str, str]) -> list[str]:
    """Return what each role is asked about all images, one line each.

    Args:
        benchmark: says what is asked.
        items: the prompts.
        judges: role → judge, of the roles that are needed.
    """
    images, questions = Counter[str](), Counter[str]()
    for item in items:
        for request in benchmark.requests(item):
            images[request.judge] += item.images
            questions[request.judge] += item.images * len(queries(request))
    lines = []
    for role, judge in judges.items():
        if judge == LEFT_OUT:
            lines.append(f"  {role}: nobody, so its columns have no number")
        elif role in images:
            lines.append(f"  {role}: {judge}, {questions[role]:,} questions, {images[role]:,} images")
        else:
            lines.append(f"  {role}: {judge}, asked about answers of others")
    return lines
