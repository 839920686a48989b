"""The hook specifications: the whole contract between the core and any plugin.

Registration hooks receive a callback ``register(name, factory, *, summary, options=..., requires=...)``
(:class:`silmm.contracts.registration.Register`). ``factory(options)`` builds the component and does its heavy
imports inside; ``options`` is a pydantic model class with a default for every field; ``requires`` names the
capabilities that the base model must declare (:class:`silmm.contracts.models.Capability`). Observation hooks
are called while a run goes on and may return nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import click
    import pyarrow as pa

    from silmm.contracts.registration import Register

hookspec = pluggy.HookspecMarker("silmm")
hookimpl = pluggy.HookimplMarker("silmm")


@hookspec
def silmm_register_models(register: Register) -> None:
    """Register base models; the factory returns a :class:`silmm.contracts.models.BaseModel`."""


@hookspec
def silmm_register_prompters(register: Register) -> None:
    """Register prompters; the factory returns a :class:`silmm.contracts.components.Prompter` (step 1)."""


@hookspec
def silmm_register_samplers(register: Register) -> None:
    """Register samplers; the factory returns a :class:`silmm.contracts.components.Sampler` (step 2)."""


@hookspec
def silmm_register_questioners(register: Register) -> None:
    """Register questioners; the factory returns a :class:`silmm.contracts.components.Questioner` (step 3)."""


@hookspec
def silmm_register_scorers(register: Register) -> None:
    """Register scorers; the factory returns a :class:`silmm.contracts.components.Scorer` (step 4)."""


@hookspec
def silmm_register_aggregations(register: Register) -> None:
    """Register aggregations, the first half of kernels (Eq. 6).

    The factory returns a :class:`silmm.contracts.components.Aggregation`. Aggregation A makes a kernel `A-D` with
    every distance D; the one called `none` makes a kernel that is called just `D`.
    """


@hookspec
def silmm_register_distances(register: Register) -> None:
    """Register distances, the second half of kernels (Eq. 6).

    The factory returns a :class:`silmm.contracts.components.Distance`. The options of both halves of a kernel are
    the options of the kernel.
    """


@hookspec
def silmm_register_pair_rules(register: Register) -> None:
    """Register pair rules; the factory returns a :class:`silmm.contracts.components.PairRule` (step 5)."""


@hookspec
def silmm_register_trainers(register: Register) -> None:
    """Register trainers; the factory returns a :class:`silmm.contracts.models.Trainer` (step 5)."""


@hookspec
def silmm_register_benchmarks(register: Register) -> None:
    """Register benchmarks; the factory returns a :class:`silmm.contracts.benchmarks.Benchmark`.

    The options derive from :class:`silmm.contracts.benchmarks.BenchmarkOptions`.
    """


@hookspec
def silmm_register_judges(register: Register) -> None:
    """Register judges, the models that benchmarks score images with.

    The factory returns an object with the methods of one or several contracts of :mod:`silmm.contracts.judges`.
    """


@hookspec
def silmm_register_generators(register: Register) -> None:
    """Register generators; the factory returns a :class:`silmm.contracts.generators.Generator`.

    The options derive from :class:`silmm.contracts.generators.GeneratorOptions`; its field `model` holds what
    follows the colon in ``silmm bench --model NAME:MODEL``.
    """


@hookspec
def silmm_register_executors(register: Register) -> None:
    """Register executors; the factory returns a :class:`silmm.contracts.executors.Executor`.

    `silmm run --executor NAME` runs the shards of a run with it; no result depends on the executor.
    """


@hookspec
def silmm_register_data(register: Register) -> None:
    """Register official data files and weights; the factory returns a ``silmm.storage.data_sets.DataSet``.

    `silmm data pull NAME` fetches them, each data set into a folder of its name.
    """


@hookspec
def silmm_register_trackers(register: Register) -> None:
    """Register trackers; the factory returns an object with observation hooks as methods."""


@hookspec
def silmm_register_commands(cli: click.Group) -> None:
    """Add click commands to the ``silmm`` command line."""


@hookspec
def silmm_run_started(run: Path, settings: Mapping[str, Any]) -> None:
    """Observe that a run starts or resumes in directory ``run``."""


@hookspec
def silmm_stage_finished(run: Path, iteration: int, stage: str, table: pa.Table | None) -> None:
    """Observe a finished stage and its table (None after training)."""


@hookspec
def silmm_train_step(run: Path, iteration: int, step: int, metrics: Mapping[str, float]) -> None:
    """Observe one optimizer step (1-based)."""


@hookspec
def silmm_iteration_finished(run: Path, iteration: int, metrics: Mapping[str, float]) -> None:
    """Observe the end of an iteration with its summary metrics."""


@hookspec
def silmm_run_finished(run: Path) -> None:
    """Observe the end of the run."""
