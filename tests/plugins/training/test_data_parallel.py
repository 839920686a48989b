"""Promise of training on several processes: the same losses as on one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import PartialState
from silmm_plugins.training.dpo import DpoOptions
from silmm_plugins.training.kc_dpo import KcDpo, KcDpoOptions

from silmm.contracts.models import BaseModel, Preference, ValidationScore
from silmm.contracts.training import Trainer
from tests.conftest import REPOSITORY
from tests.plugins.training.feature_preferences import feature_preferences
from tests.plugins.training.preferences import preferences
from tests.plugins.training.training_run import dpo_trainer, job
from tests.toy import plugin
from tests.toy.tiny_continuous_random import TinyContinuousRandom
from tests.toy.tiny_random import PROMPTS, TinyRandom

STEPS = 4
QUICK: dict[str, Any] = {
    "max_steps": STEPS, "warmup_steps": 1, "learning_rate": 5e-3, "batch_size": 16, "rank": 4, "alpha": 8,
}  # fmt: skip


def discrete() -> tuple[Trainer, BaseModel, list[Preference]]:
    """Return `dpo` with what it trains."""
    return dpo_trainer(DpoOptions(**QUICK)), TinyRandom(), preferences()


def continuous() -> tuple[Trainer, BaseModel, list[Preference]]:
    """Return `kc-dpo` with what it trains."""
    options = KcDpoOptions(**QUICK, gamma="auto", chosen_weight=0.5, warn_rise=1e9)
    return KcDpo(options), TinyContinuousRandom(), feature_preferences()


def validated() -> tuple[Trainer, BaseModel, list[Preference]]:
    """Return `kc-dpo` that has seen its best after the first step, and stops two later."""
    options = KcDpoOptions(
        **QUICK, gamma="auto", warn_rise=1e9, validate_every=1, patience=2, gradient_checkpointing=True
    )
    return KcDpo(options), TinyContinuousRandom(), feature_preferences()


def main(folder: Path, kind: str) -> None:
    """Train in `folder` and write the metrics of each step beside it, once for each process."""
    torch.set_num_threads(1)
    calls = []
    trainer, model, data = {"discrete": discrete, "continuous": continuous, "validated": validated}[kind]()
    scores = iter([0.0, 0.1, 0.05, 0.01, 0.0])

    def validate() -> ValidationScore:
        assert int(os.environ.get("RANK", "0")) == 0, "the other ranks are told"
        return ValidationScore(next(scores), 0.01, 8)

    trainer.train(job(folder, model, data, lambda step, metrics: calls.append(dict(metrics)), validate=validate))
    assert PartialState().num_processes == int(os.environ.get("WORLD_SIZE", "1"))
    name = f"metrics-{torch.distributed.get_rank() if torch.distributed.is_initialized() else 0}"
    (folder / name).write_text(json.dumps(calls))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["discrete", "continuous", "validated"])
def test_two_processes_train_as_one(tmp_path: Path, kind: str) -> None:
    """Each process sees half of every batch; losses, gradients and the stop are those of one process."""
    main(tmp_path / "one", kind)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    code = "from tests.plugins.training.test_data_parallel import main; from pathlib import Path; import sys"
    # small parts, so that the processes share out the reference's features
    parts = "from silmm_plugins.training.objectives import reference_features; reference_features.PART = 3"
    program = tmp_path / "program.py"
    program.write_text(f"{code}; {parts}; main(Path(sys.argv[1]), sys.argv[2])\n")
    subprocess.run(
        [*command, str(program), str(tmp_path / "two"), kind],
        check=True,
        timeout=120,
        env=_environment(),
        capture_output=True,
    )
    first = json.loads((tmp_path / "one" / "metrics-0").read_text())
    for rank in (0, 1):
        second = json.loads((tmp_path / "two" / f"metrics-{rank}").read_text())
        assert len(second) == (3 if kind == "validated" else STEPS)
        for a, b in zip(first, second, strict=True):
            # the sign of a margin that is 0 but for rounding is chance: of step 1 without its accuracy
            names = {name for name in a if name != "accuracy" or abs(a["margin"]) > 1e-4}
            assert {name: a[name] for name in names} == pytest.approx(
                {name: b[name] for name in names}, rel=1e-3, abs=1e-5
            )


PLUGIN = """
from silmm import hookimpl
from tests.toy.tiny_random import TinyRandom

@hookimpl
def silmm_register_models(register):
    register("random", lambda options: TinyRandom(), summary="Random.", kind="discrete",
             capabilities=("chat", "yes_no", "log_likelihood", "nucleus"))
"""


@pytest.mark.slow
def test_a_run_of_two_processes_trains_as_one(
    tmp_path: Path, fake_distribution: Callable[..., Path]
) -> None:
    """`torchrun -m silmm_cli run` makes the run of one process but for rounding, and says so once."""
    site = fake_distribution("silmm-random", {"random": "random_plugin"}, {"random_plugin": PLUGIN})
    plugin.install(site)
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    kinds = [f"--{kind}=toy" for kind in ("prompter", "sampler", "questioner", "scorer", "pair-rule")]
    options = {"max_steps": STEPS, "warmup_steps": 1, "learning_rate": 5e-3, "batch_size": 4, "rank": 4, "alpha": 8}
    options |= {"validate_every": 2, "keep_best": "false"}
    sets = [f"--set=trainer.{name}={value}" for name, value in options.items()]
    run = [
        "-m", "silmm_cli", "run", "--model=random", *kinds, "--trainer=dpo", "--benchmark=none", *sets,
        f"--prompts={tmp_path / 'prompts.txt'}", "--images-per-prompt=4", "--iterations=2", "--json",
    ]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = _environment()
    environment["PYTHONPATH"] = os.pathsep.join([str(site), environment["PYTHONPATH"]])
    environment["SILMM_LOAD_PLUGINS"] = "silmm,silmm-toy,silmm-random"
    for name, before in (("one", []), ("two", launcher), ("two", launcher)):  # the last finds it done
        done = subprocess.run(
            [sys.executable, *before, *run, f"--run-dir={tmp_path / name}"],
            check=False, timeout=180, env=environment, capture_output=True, text=True,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["run_dir"] == str(tmp_path / name)
    first, second = (
        [[json.loads(line) for line in path.read_text().splitlines()] for path in
         (tmp_path / name / f"iter-{number}" / "metrics.jsonl" for number in (1, 2))]
        for name in ("one", "two")
    )
    assert [len(steps) for steps in second] == [STEPS, STEPS]
    assert ["validation_score" in row for row in second[1]] == [False, True, False, True]
    for a, b in zip(first[0], second[0], strict=True):
        assert a == pytest.approx(b, rel=1e-3, abs=1e-5)


def _environment() -> dict[str, str]:
    paths = [str(REPOSITORY), str(REPOSITORY / "plugins"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
