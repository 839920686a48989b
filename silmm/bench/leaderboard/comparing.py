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
    ours, others = _one_each(first), _one_each(second)
    pairs = [(ours[key], others[key]) for key in ours if key in others]
    if not pairs:
        raise UsageError(
            "nothing to compare: the two have no benchmark in common "
            f"({_named(first)} and {_named(second)}), or other modes"
        )
    return [_compare(one, other) for one, other in pairs]


def _one_each(results: Sequence[Result]) -> dict[tuple[str, str], Result]:
    """Return the result of each benchmark and mode: the full one, else the only one."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for one in results:
        groups.setdefault((one.benchmark, one.mode), []).append(one)
    found = {}
    for key, group in groups.items():
        chosen = [one for one in group if not one.marks] or group
        if len(chosen) > 1:
            raise UsageError(
                f"several results of {' '.join(key)} could be meant; name one of the files: "
                f"{', '.join(str(one.path) for one in chosen)}"
            )
        found[key] = chosen[0]
    return found


def _compare(first: Result, second: Result) -> Comparison:
    ignored = {"prompts", "prompts_sha256", "categories"}  # paired by prompt anyway
    told = [
        text for text in difference(first.scoring, second.scoring) if text.partition(":")[0] not in ignored
    ]
    if told:
        raise UsageError(
            f"{first.path} and {second.path} were scored by different protocols: {'; '.join(told)}. Score "
            "both with the same judges, data and mode."
        )
    one, other = values_by_column(first), values_by_column(second)
    columns, warnings = {}, []
    for name in [name for name in first.numbers if name in one and name in other]:
        shared = [item for item in one[name] if item in other[name]]
        if shared:
            columns[name] = paired_difference(
                [one[name][item] for item in shared], [other[name][item] for item in shared]
            )
        alone = len(one[name]) + len(other[name]) - 2 * len(shared)
        if alone:
            warnings.append(f"{name}: {alone} prompts are in one result only and left out")
    if not columns:
        raise DataError(f"{first.path} and {second.path} share no prompt; nothing can be compared.")
    for result in (first, second):
        warnings += [f"{result.model}: {mark}" for mark in result.marks]
        warnings += [
            f"{result.model}: the judge for {role} fails canaries: {'; '.join(failed)}"
            for role, failed in result.canaries_failed.items()
        ]
    return Comparison(first.benchmark, first.title, first, second, columns, tuple(warnings))


def values_by_column(result: Result) -> dict[str, dict[str, float]]:
    """Return the value of each prompt, by column and item id.

    Raises:
        DataError: the table is missing or not the one of the result.
    """
    values: dict[str, dict[str, float]] = {}
    for row in result.table("prompts").to_pylist():
        values.setdefault(str(row["column"]), {})[str(row["item"])] = float(row["value"])
    return values


def _named(results: Sequence[Result]) -> str:
    return ", ".join(f"{one.benchmark} {one.mode}" for one in results) or "nothing"
