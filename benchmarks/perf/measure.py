"""Interleaved timing of several ways to do one thing, and the table that compares them."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

OURS = "ours"
MARK = "JSON "
"""What the machine-readable line of a script's output begins with."""


@dataclass(frozen=True)
class Comparison:
    """One row: the seconds that each way took for the same `items` pieces of work, in each repeat."""

    case: str
    items: int
    seconds: Mapping[str, Sequence[float]]
    """Way -> seconds of each repeat; :data:`OURS` is among them."""

    def rate(self, way: str) -> float:
        """Return the median pieces of work in a second."""
        return self.items / statistics.median(self.seconds[way])

    def ratios(self, way: str) -> list[float]:
        """Return how many times faster ours was than `way`, repeat by repeat.

        The two of a repeat ran one after the other, so that a slow spell of the machine hits both.
        """
        return [other / own for own, other in zip(self.seconds[OURS], self.seconds[way], strict=True)]


def interleaved(ways: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Time the ways in turn, A B C A B C …, after one untimed call of each; seconds of every repeat."""
    for way in ways.values():
        way()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def arguments(description: str, repeats: int) -> argparse.Namespace:
    """Read --repeats and --threads, and give torch its threads."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--repeats", type=int, default=repeats, help=f"timed rounds (default {repeats})")
    parser.add_argument("--threads", type=int, default=2, help="torch threads (default 2)")
    parsed = parser.parse_args()
    if parsed.repeats < 1:
        parser.error("--repeats must be at least 1")
    torch.set_num_threads(parsed.threads)
    return parsed


def publish(name: str, unit: str, weights: str, rows: Sequence[Comparison]) -> None:
    """Print the table as Markdown, then one line of JSON with every single time."""
    print(table(unit, rows))
    values = [{"case": row.case, "items": row.items, "seconds": row.seconds} for row in rows]
    record = {"name": name, "unit": unit, "weights": weights, "rows": values, "machine": machine()}
    print(MARK + json.dumps(record))


def table(unit: str, rows: Sequence[Comparison]) -> str:
    """Return Markdown: rates by their medians, ratios by the median of the repeats and their range."""
    others = [way for way in rows[0].seconds if way != OURS]
    head = ["", f"{OURS}, {unit}/s"]
    for way in others:
        head += [f"{way}, {unit}/s", "ratio"]
    lines = [_line(head), _line(["---", *["---:"] * (len(head) - 1)])]
    for row in rows:
        cells = [row.case, f"{row.rate(OURS):.1f}"]
        for way in others:
            ratios = row.ratios(way)
            middle = f"**{statistics.median(ratios):.2f}**"
            cells += [f"{row.rate(way):.1f}", f"{middle} ({min(ratios):.2f}–{max(ratios):.2f})"]
        lines.append(_line(cells))
    return "\n".join(lines)


def machine() -> dict[str, object]:
    """Return what the times depend on: cores, instruction set, versions, load; nothing that names a host."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "torch_cpu": torch.backends.cpu.get_cpu_capability(),
        "torch_threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }


def _cpu_model() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
