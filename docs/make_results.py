"""Print the tables of docs/results/discrete.md: ``python docs/make_results.py RUNS… --control RUNS…``.

RUNS are finished run directories of one training seed each.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from silmm_benchmarks.shapes.evaluation.sampled_images import all_facts_correct, facts_right

from silmm.bench.statistics import cluster_means, paired_difference
from silmm.contracts.records import Difference
from silmm.report.reading import read_run, stored_shards

MEASURES = {"facts right": facts_right, "all facts correct": all_facts_correct}
FEEDBACK = {
    "auc": 'AUC of the score for "all facts hold"',
    "auc_within_prompt": "the same within a prompt",
    "candidates_facts_mean": "candidates, facts right: mean",
    "candidates_facts_best_by_own_score": "best by own score",
    "candidates_facts_best_by_judge": "best by the judge",
}


def main() -> None:
    """Read the runs and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--control", type=Path, nargs="*", default=[])
    args = parser.parse_args()
    summaries = [json.loads((run / "summary.json").read_text()) for run in args.runs]
    gains("Self-feedback", args.runs)
    if args.control:
        gains("Control, scorer `random`", args.control)
    seeds = [run.name for run in args.runs]
    print("Base against the last iteration:\n")
    for part in ("secondary", "categories"):
        names = list(summaries[0][part])
        table(["", *seeds], [[n, *(worded(s[part][n]) for s in summaries)] for n in names])
    print("The self-feedback against the judge, candidates of the first iteration:\n")
    rows = [[text, *(f"{s['extra'][key]:.3f}" for s in summaries)] for key, text in FEEDBACK.items()]
    table(["", *seeds], rows)


def gains(title: str, runs: list[Path]) -> None:
    """Print each run's facts by iteration, and the means over runs with intervals over prompts."""
    means = [prompt_means(run) for run in runs]
    names = [name for name in means[0] if name != "before"]
    rows = []
    for run, mean in zip(runs, means, strict=True):
        pairs = [paired_difference(mean["before"][0], mean[name][0]) for name in names]
        rows.append([run.name, *(worded(vars(pair)) for pair in pairs)])
    for index, measure in enumerate(MEASURES):
        before = np.mean([mean["before"][index] for mean in means], axis=0)
        pairs = [
            paired_difference(before, np.mean([mean[name][index] for mean in means], axis=0))
            for name in names
        ]
        rows.append([f"{measure}, mean of {len(runs)}", *(worded(vars(pair)) for pair in pairs)])
    print(f"{title}:\n")
    table(["", *(f"iteration {name}" for name in names)], rows)


def prompt_means(run: Path) -> dict[str, list[Any]]:
    """Return each model's means by prompt, one array for each measure."""
    means = {}
    for name, folder in read_run(run).images.items():
        shards = stored_shards(folder).tables(["prompt_id", "category", "holds"])
        rows = pa.concat_tables(list(shards))
        prompts = rows.column("prompt_id").to_pylist()
        means[name] = [cluster_means(measure(rows), prompts)[1] for measure in MEASURES.values()]
    return means


def worded(figures: dict[str, Any]) -> str:
    """Write one difference with its interval."""
    difference = Difference(**figures)
    interval = f"[{difference.ci_low:+.3f}, {difference.ci_high:+.3f}]"
    return f"{difference.before:.3f} → {difference.after:.3f}, {difference.diff:+.3f} {interval}"


def table(head: list[str], rows: list[list[str]]) -> None:
    """Print a Markdown table."""
    for cells in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(cells) + " |")
    print()


if __name__ == "__main__":
    main()
