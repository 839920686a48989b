"""Promise of training on several processes: the same losses as on one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from silmm_plugins.dpo import Dpo, DpoOptions

from tests.plugins.preferences import preferences
from tests.plugins.tiny_random import TinyRandom

STEPS = 4


def main(folder: Path) -> None:
    """Train in `folder` and write the metrics of each step beside it, once for each process."""
    torch.set_num_threads(1)
    seen = []
    Dpo(DpoOptions(steps=STEPS, warmup=1, learning_rate=5e-3, batch=16, rank=4, alpha=8)).train(
        TinyRandom(),
        preferences(),
        start=None,
        out=folder / "adapter",
        work=folder / "work",
        seed=1,
        observe=lambda step, metrics: seen.append(dict(metrics)),
    )
    name = f"metrics-{torch.distributed.get_rank() if torch.distributed.is_initialized() else 0}"
    (folder / name).write_text(json.dumps(seen))


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """Each process sees half of every batch, and losses and gradients are those of the whole batch."""
    main(tmp_path / "one")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    code = "from tests.plugins.test_data_parallel import main; from pathlib import Path; import sys"
    program = tmp_path / "program.py"
    program.write_text(f"{code}; main(Path(sys.argv[1]))\n")
    subprocess.run(
        [*command, str(program), str(tmp_path / "two")],
        check=True,
        timeout=120,
        env=_environment(),
        capture_output=True,
    )
    one = json.loads((tmp_path / "one" / "metrics-0").read_text())
    for rank in (0, 1):
        two = json.loads((tmp_path / "two" / f"metrics-{rank}").read_text())
        assert len(two) == STEPS
        for a, b in zip(one, two, strict=True):
            assert a == pytest.approx(b, rel=1e-3, abs=1e-5)


def _environment() -> dict[str, str]:
    import os

    root = Path(__file__).parents[2]
    places = [str(root), str(root / "plugins"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1"}
