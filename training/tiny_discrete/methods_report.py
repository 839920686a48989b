"""The tables of the methods study, from its figures: ``python -m training.tiny_discrete.methods_report JSON``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from silmm.bench.statistics import Floats, seed_interval

MEASURES = {"sharp": "facts, sharp", "temperature 1": "facts, temperature 1", "answers": "VQA accuracy"}


def tables(result: Mapping[str, Any]) -> str:
    """Return Markdown: the gains on the report prompts, paired differences from `sft`, and the tune prompts."""
    methods = {name: entry for name, entry in result["methods"].items() if "report" in entry}
    gains = [
        [name, entry["chosen"], *(_interval(entry["report"][measure]) for measure in MEASURES)]
        for name, entry in methods.items()
    ]
    by_seed = [
        [name, *(f"{np.mean(values):+.3f}" for values in entry["report"]["sharp"])] for name, entry in methods.items()
    ]
    against = [
        [f"{name} - {base}", *(_interval(_minus(entry, methods[base], measure)) for measure in MEASURES)]
        for base in ("sft", "sft, gap-weighted") if base in methods
        for name, entry in methods.items() if name != base
    ]
    tuned = [
        [name if i == 0 else "", f"**{label}**" if label == entry.get("chosen") else label,
         *(f"{np.mean(values[measure]):+.3f}" for measure in ("sharp", "answers"))]
        for name, entry in result["methods"].items() for i, (label, values) in enumerate(entry["tune"].items())
    ]
    seeds, prompts = len(result["seeds"]), len(next(iter(result["before"].values()))["sharp"])
    heads = list(MEASURES.values())
    return "\n\n".join([
        f"Gain over the base on the report prompts, mean of {seeds} seeds × {prompts} prompts [95%]:",
        _table(["method", "setting", *heads], gains),
        "The same by seed (facts, sharp):",
        _table(["method", *(f"seed {seed}" for seed in result["seeds"])], by_seed),
        "Paired differences, same seeds and prompts:",
        _table(["difference", *heads], against),
        f"Gain on the tune prompts, seed {result['seeds'][0]}; the chosen setting of each method in bold:",
        _table(["method", "setting", heads[0], heads[-1]], tuned),
    ]) + "\n"


def _minus(entry: Mapping[str, Any], base: Mapping[str, Any], measure: str) -> Floats:
    difference: Floats = np.subtract(entry["report"][measure], base["report"][measure])
    return difference


def _interval(values: Any) -> str:
    low, high = seed_interval(values)
    return f"{np.mean(values):+.3f} [{low:+.3f}, {high:+.3f}]"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    print(tables(json.loads(Path(sys.argv[1]).read_text())))
