"""The most memory that UniDet takes for an image, boxes in chunks and all at once, each in its own process.

Weights are random with the official shapes; the image is of 479x479 pixels and gives 1000 proposals.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

import torch
from silmm_benchmarks.judges.unidet import cascade

from benchmarks.perf import measure
from benchmarks.perf.unidet_speed import NETWORKS, noise_image, random_network

ROOT = Path(__file__).parents[2]
ALL = 1000
"""Boxes at once when there are no chunks: as many as there are proposals."""


def peak() -> float:
    """Return the most memory that this process held so far, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def one(name: str, chunk: int) -> dict[str, float]:
    """Run an image in this process; return the peak before it and with it, in MB."""
    network, image = random_network(NETWORKS[name]), noise_image()
    cascade.CHUNK = chunk
    before = peak()
    network([image])
    return {"loaded": before, "image": peak()}


def apart(name: str, chunk: int, threads: int) -> dict[str, float]:
    """Do :func:`one` in a new process."""
    code = (
        f"import json, torch; torch.set_num_threads({threads}); "
        f"from benchmarks.perf.unidet_memory import one; print(json.dumps(one({name!r}, {chunk})))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, check=True)  # noqa: S603
    megabytes: dict[str, float] = json.loads(done.stdout)
    return megabytes


def main() -> None:
    """Print a table, and a line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=2, help="torch threads (default 2)")
    parser.add_argument("--only", choices=sorted(NETWORKS), help="this network alone")
    options = parser.parse_args()
    rows = []
    print("| network | boxes at once | loaded, MB | peak with an image, MB | of which the image, MB |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name in [options.only] if options.only else list(NETWORKS):
        for chunk in (cascade.CHUNK, ALL):
            measured = apart(name, chunk, options.threads)
            added = measured["image"] - measured["loaded"]
            rows.append({"network": name, "chunk": chunk, **measured})
            megabytes = f"{measured['loaded']:.0f} | {measured['image']:.0f} | {added:.0f}"
            print(f"| {name} | {chunk} | {megabytes} |", flush=True)
    torch.set_num_threads(options.threads)
    print(measure.MARK + json.dumps({"name": "unidet_memory", "rows": rows, "machine": measure.machine()}))


if __name__ == "__main__":
    main()
