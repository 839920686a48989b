"""Two results of one benchmark, compared prompt by prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from silmm.bench.leaderboard.ranking import difference
from silmm.bench.leaderboard.results import Result
from silmm.bench.statistics import paired_difference
from silmm.contracts.records import Difference
from silmm.errors import DataError, UsageError


@dataclass(frozen=True)
class Comparison:
    """The paired differences of two results, second minus first."""

    benchmark: str
    title: str
    first: Result
    second: Result
    columns: dict[str, Difference]
    """Column -> means over the prompts that both have, their difference and its interval."""
    warnings: tuple[str, ...]
    """Marks and failed canaries of either result, and prompts that only one of them has."""


def compare_results(first: Sequence[Result], second: Sequence[Result]) -> list[Comparison]:
    """Pair results by benchmark and mode and compare each pair over the prompts that both have.

    A prompt's value of a column is what the column would be with that prompt alone, so columns that average
    over questions weigh every prompt alike here.

    Raises:
        UsageError: no pair, several results of one side that may be meant, or a pair with different cards;
            the message says which fields differ.
        DataError: a table is missing or not the one of its result.
    """
    first_by_key, second_by_key = _one_per_key(first), _one_per_key(second)
    pairs = [(first_by_key[key], second_by_key[key]) for key in first_by_key if key in second_by_key]
    if not pairs:
        raise UsageError(
            "nothing to compare: the two have no benchmark in common "
            f"({_named(first)} and {_named(second)}), or other modes"
        )
    return [_compare(*pair) for pair in pairs]


def _one_per_key(results: Sequence[Result]) -> dict[tuple[str, str], Result]:
    """Return the result of each benchmark and mode: the full one, else the only one."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.benchmark, result.mode), []).append(result)
    chosen = {}
    for key, group in groups.items():
        candidates = [result for result in group if not result.marks] or group
        if len(candidates) > 1:
            raise UsageError(
                f"several results of {' '.join(key)} could be meant; name one of the files: "
                f"{', '.join(str(result.path) for result in candidates)}"
            )
        chosen[key] = candidates[0]
    return chosen


def _compare(first: Result, second: Result) -> Comparison:
    ignored = {"prompts", "prompts_sha256", "categories"}  # paired by prompt anyway
    fields = [
        text for text in difference(first.scoring, second.scoring) if text.partition(":")[0] not in ignored
    ]
    if fields:
        raise UsageError(
            f"{first.path} and {second.path} were scored by different protocols: {'; '.join(fields)}. Score both "
            "with the same judges, data and mode."
        )
    first_values, second_values = values_by_column(first), values_by_column(second)
    columns, warnings = {}, []
    for name in [name for name in first.numbers if name in first_values and name in second_values]:
        before, after = first_values[name], second_values[name]
        shared = [item for item in before if item in after]
        if shared:
            columns[name] = paired_difference([before[item] for item in shared], [after[item] for item in shared])
        unpaired = len(before) + len(after) - 2 * len(shared)
        if unpaired:
            warnings.append(f"{name}: {unpaired} prompts are in one result only and left out")
    if not columns:
        raise DataError(f"{first.path} and {second.path} share no prompt; nothing can be compared.")
    for result in (first, second):
        warnings += [*(f"{result.model}: {mark}" for mark in result.marks), *result.canary_texts()]
    return Comparison(first.benchmark, first.title, first, second, columns, tuple(warnings))


def values_by_column(result: Result) -> dict[str, dict[str, float]]:
    """Return column -> prompt -> value."""
    values: dict[str, dict[str, float]] = {}
    for row in result.table("prompts").to_pylist():
        values.setdefault(str(row["column"]), {})[str(row["item"])] = float(row["value"])
    return values


def _named(results: Sequence[Result]) -> str:
    return ", ".join(f"{result.benchmark} {result.mode}" for result in results) or "nothing"
