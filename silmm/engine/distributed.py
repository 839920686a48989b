"""Training on several processes of a launcher such as `torchrun`: what the ranks above 0 do.

Rank 0 does the run: it holds the directory and makes, evaluates and writes everything. The others read the
directory, join `Trainer.train` of each iteration that is still to be trained, and write nothing. They wait
without a limit: the launcher ends them when rank 0 fails.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from silmm.contracts.training import TrainingJob
from silmm.engine.iteration import keeps_features
from silmm.engine.stages.seed_scope import SeedScope
from silmm.engine.validation import trainer_input
from silmm.engine.workers import accelerators
from silmm.lora.adapter_record import finished_adapter
from silmm.storage.paths import FEATURES, IterationFolder, RunFolder

if TYPE_CHECKING:
    from silmm.engine.settings import RunSettings
    from silmm.engine.workers.run_components import Components

PAUSE = 0.5
"""Seconds between two looks at the run directory."""


def processes() -> int:
    """Return how many processes a launcher started; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1


def rank() -> int:
    """Return the number of this process among them; 0 does the run."""
    return int(os.environ.get("RANK", "0")) if processes() > 1 else 0


def take_device() -> None:
    """Make the accelerator of this rank the one that models go to by the name ``cuda``."""
    accelerators.take(int(os.environ["LOCAL_RANK"]))


def accompany(
    settings: RunSettings, run_dir: Path, components: Components, until: str | None
) -> None:
    """Join the trainings of rank 0 in `run_dir`, one iteration after the other."""
    run = RunFolder(run_dir, settings.shard_size)
    iterations = settings.iterations if until is None else int(until == "train")
    reference: Path | None = None
    for number in range(1, iterations + 1):
        folder = run.iteration(number)
        while not (_ready(folder, settings, components) or finished_adapter(folder.adapter)):
            time.sleep(PAUSE)
        if not finished_adapter(folder.adapter):
            scope = SeedScope(settings.seed, number)
            inputs = trainer_input(settings, components, folder, scope, owns_tables=False)
            with tempfile.TemporaryDirectory() as out:  # rank 0 keeps the adapter
                components.get("trainer").train(TrainingJob(
                    components.lend_model(), inputs.preferences, start=reference,
                    out=Path(out), work=folder.work, seed=scope.derive("train"),
                    observe=lambda step, metrics: None,  # noqa: ARG005 - the trainer's signature
                    validate=inputs.validate, rollout=inputs.rollout,
                ))
        reference = folder.adapter


def _ready(folder: IterationFolder, settings: RunSettings, components: Components) -> bool:
    """Say whether all that a training reads is there."""
    if folder.pairs.missing():
        return False
    return not (keeps_features(settings, components) and folder.missing(FEATURES))
