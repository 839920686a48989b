"""Run every performance comparison, each in a process of its own, and print Markdown for README.md."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TITLES = {
    "blip_vqa_speed": "BLIP-VQA's phrases",
    "geneval_speed": "GenEval's objects and colours",
    "grouped_pairs": "Grouped pairs",
    "kernel_pairs": "Pairs of features",
    "mplug_speed": "mPLUG's questions",
    "image_prefix": "An image's questions",
    "tifa_answers_speed": "TIFA's questions to BLIP",
    "trl_emu3": "A DPO step on Emu3's images beside TRL's",
    "trl_step": "A DPO step beside TRL's",
    "unidet_pooling": "UniDet's pooling",
    "unidet_speed": "UniDet's images",
    "vqa_prefix": "Janus's questions",
}
MARK = "JSON "
"""What the last line of a comparison begins with (measure.MARK); this script imports nothing heavy."""


def run(name: str, arguments: list[str]) -> tuple[str, dict[str, object]]:
    """Return a comparison's table and its record.

    Raises:
        SystemExit: it failed; its own message is on stderr.
    """
    command = [sys.executable, "-m", f"benchmarks.perf.{name}", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - our own scripts
    if done.returncode:
        raise SystemExit(f"benchmarks.perf.{name} failed with exit code {done.returncode}; see above")
    table, _, record = done.stdout.rpartition(MARK)
    values: dict[str, object] = json.loads(record)
    return table.strip(), values


def main() -> None:
    """Print a section for each comparison, then the machine; write all single times if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(TITLES), action="append", help="run this one (repeatable)")
    parser.add_argument("--repeats", type=int, help="timed rounds of each (default: the script's own)")
    parser.add_argument("--threads", type=int, default=2, help="torch threads (default 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single time to this file")
    options = parser.parse_args()
    arguments = [f"--threads={options.threads}"]
    if options.repeats:
        arguments.append(f"--repeats={options.repeats}")
    records = []
    for name in options.only or TITLES:
        table, record = run(name, arguments)
        records.append(record)
        print(f"### {TITLES[name]}\n\n{table}\n", flush=True)
        print(f"Weights: {record['weights']}. Machine: {json.dumps(record['machine'])}\n", flush=True)
    if options.json:
        options.json.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()
