"""The training loop of all LoRA trainers: grouped pairs, several processes, exact resumption."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import torch
from accelerate import PartialState
from accelerate.utils import reduce

from silmm.checkpoint.devices import device_of
from silmm.contracts.models import BaseModel, Preference, Validate
from silmm.errors import SilmmError
from silmm.lora.adapters import new_adapter, save_adapter, trainable_parameters
from silmm.lora.loading import load_adapter
from silmm.seeds import derive
from silmm_plugins.training import preference_data
from silmm_plugins.training.lora.batches import batches, split
from silmm_plugins.training.lora.checkpoints import Position, load_checkpoint, save_checkpoint
from silmm_plugins.training.lora.early_stopping import EarlyStopping
from silmm_plugins.training.lora.gradient_checkpointing import recomputable_layers, recomputed
from silmm_plugins.training.lora.lora_options import LoraOptions
from silmm_plugins.training.objective import Objective, Prepare

Observe: TypeAlias = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True)
class Training:
    """What stays the same through a training run."""

    objective: Objective
    preferences: Sequence[Preference]
    options: LoraOptions
    parameters: Mapping[str, torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    seed: int
    device: torch.device
    """Where the losses are."""
    layers: Sequence[torch.nn.Module] = ()
    """Those that are recomputed in the backward pass."""
    validate: Validate | None = None


def train_lora(
    model: BaseModel,
    preferences: Sequence[Preference],
    prepare: Prepare,
    options: LoraOptions,
    *,
    start: Path | None,
    out: Path,
    work: Path,
    seed: int,
    observe: Observe,
    validate: Validate | None = None,
    identity: Mapping[str, object] | None = None,
) -> dict[str, float]:
    """Train LoRA weights and write the PEFT folder `out`; return the last step's metrics.

    Args:
        model: the base model; its backbone is left with the tuned adapter on.
        preferences: prompts with candidates and pairs.
        prepare: called once with the start adapter on; returns the objective.
        options: optimisation; see :class:`LoraOptions`.
        start: adapter to go on from, the reference; None is a fresh one on the base.
        out: the folder to write.
        work: checkpoints and reference values; with them, a killed run goes on to the same bytes.
        seed: of the data order and the fresh adapter.
        observe: called with the step (1-based) and its metrics. Metrics of a step are those of the
            weights before its update, so step 1 shows margin 0 and, for DPO, loss ln 2; those of a
            validation alone are of the weights after it.
        validate: called as `options` say; see :class:`EarlyStopping`.
        identity: JSON-able; what else decides the result, so that `work` is not taken for another's.

    Raises:
        DataError: no usable pairs, or a damaged checkpoint.
        UsageError: the backbone has no layers that can be recomputed, as the options ask for.
        SilmmError: the loss or its gradient is not finite.
    """
    preference_data.check(preferences)
    _join()
    digest = preference_data.digest(
        preferences,
        {
            "options": options.model_dump(mode="json"),
            "objective": type(options).__name__,
            "seed": seed,
            "start": preference_data.weights_digest(start),
            "validated": bool(validate and options.validate_every),
            **(identity or {}),
        },
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "training"))
        _attach(model, start, options, seed)
        layers = recomputable_layers(model.backbone) if options.gradient_checkpointing else ()
        objective = prepare(Path(work), digest)
        training = _training(model, preferences, objective, options, layers, seed, validate)
        metrics = _loop(training, Path(work), digest, observe)
    if PartialState().is_main_process:
        save_adapter(model, out)
    PartialState().wait_for_everyone()
    for parameter in training.parameters.values():
        parameter.requires_grad_(False)
        parameter.grad = None
    return metrics


def _join() -> None:
    """Let this process be one of its launcher's: the first `PartialState` of a process decides.

    Accelerate has to be told that there is no GPU, or each process would think itself alone.
    """
    PartialState(cpu="LOCAL_RANK" in os.environ and not torch.cuda.is_available())


def _attach(model: BaseModel, start: Path | None, options: LoraOptions, seed: int) -> None:
    if start is None:
        new_adapter(model, rank=options.rank, alpha=options.alpha, seed=derive(seed, "adapter"))
    else:
        load_adapter(model, start)
    model.backbone.eval()  # dropout off, in the policy as in the reference


def _training(
    model: BaseModel,
    preferences: Sequence[Preference],
    objective: Objective,
    options: LoraOptions,
    layers: Sequence[torch.nn.Module],
    seed: int,
    validate: Validate | None,
) -> Training:
    parameters = trainable_parameters(model)
    optimizer = torch.optim.AdamW(
        list(parameters.values()), lr=options.learning_rate, weight_decay=options.weight_decay
    )
    device = device_of(model.backbone)
    return Training(objective, preferences, options, parameters, optimizer, seed, device, layers, validate)


def _loop(training: Training, work: Path, digest: str, observe: Observe) -> dict[str, float]:
    options = training.options
    found = load_checkpoint(work, digest, training.parameters, training.optimizer)
    position = found or Position(0, {})
    stopping = EarlyStopping(options, training.parameters, training.validate, position)
    stopping.begin()
    warned = False
    for step, positions in _remaining(training, position.step):
        if stopping.over:
            break
        metrics = _step(training, step, positions)
        warning = training.objective.warning(step, metrics)
        metrics |= {
            training.objective.flag: float(warning is not None),
            "total_steps": float(options.max_steps),
            **stopping.after(step),
        }
        if warning and not warned:
            warned = True
            warnings.warn(warning, stacklevel=2)
        position = Position(step, metrics, stopping.series, stopping.best)
        observe(step, metrics)  # before the checkpoint, so that a resumed run reports every step
        if step % options.checkpoint_every == 0 or step == options.max_steps or stopping.over:
            if PartialState().is_main_process:
                save_checkpoint(work, digest, position, training.parameters, training.optimizer)
            PartialState().wait_for_everyone()
    stopping.put_best()
    return dict(position.metrics)


def _remaining(training: Training, done: int) -> Iterator[tuple[int, list[int]]]:
    """Yield (step, positions of the prompts) of the steps that are still to be done."""
    sizes = [len(preference.pairs) for preference in training.preferences]
    order = enumerate(batches(sizes, training.options.batch_size, training.seed), start=1)
    yield from islice(order, done, training.options.max_steps)


def _step(training: Training, step: int, positions: Sequence[int]) -> dict[str, float]:
    """Take one optimizer step on the pairs of some prompts; return its metrics."""
    options = training.options
    total = sum(len(training.preferences[i].pairs) for i in positions)
    sums = torch.zeros(1 + training.objective.width, device=training.device)
    training.optimizer.zero_grad(set_to_none=False)
    for run in _micro_batches(training, positions):
        with recomputed(training.layers):
            losses, counted = training.objective.forward(run)
        loss = losses.sum() / total
        torch.autograd.backward(loss)
        sums += torch.cat([loss.detach().reshape(1), counted])
    _share(training.parameters, sums)
    mean, *rest = (float(value) for value in sums)
    metrics = {"loss": mean, **training.objective.metrics(rest, total), "pairs": float(total)}
    norm = torch.nn.utils.clip_grad_norm_(training.parameters.values(), options.grad_clip or math.inf)
    metrics["grad_norm"] = float(norm)
    metrics["lr"] = options.learning_rate_at(step)
    _check_finite(step, metrics, options)
    for group in training.optimizer.param_groups:
        group["lr"] = metrics["lr"]
    training.optimizer.step()
    return metrics


def _micro_batches(training: Training, positions: Sequence[int]) -> list[list[int]]:
    """Split this process's share of a batch into micro-batches of sequences of like length."""
    state = PartialState()
    ordered = sorted(positions, key=lambda i: (training.objective.length(i), i))
    mine = ordered[state.process_index :: state.num_processes]
    costs = [training.objective.rows(i) for i in mine]
    return split(mine, costs, training.options.gradient_accumulation_steps) if mine else []


def _share(parameters: Mapping[str, torch.nn.Parameter], sums: torch.Tensor) -> None:
    """Add up gradients and metrics over the processes; each saw other prompts of the batch."""
    if PartialState().num_processes == 1:
        return
    for parameter in parameters.values():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        parameter.grad.copy_(reduce(parameter.grad, reduction="sum"))
    sums.copy_(reduce(sums, reduction="sum"))


def _check_finite(step: int, metrics: Mapping[str, float], options: LoraOptions) -> None:
    bad = [name for name, value in metrics.items() if not math.isfinite(value)]
    if bad:
        raise SilmmError(
            f"training: {bad[0]} is not finite at step {step} of {options.max_steps}; the last "
            "checkpoint is kept. Lower trainer.learning_rate, set trainer.grad_clip, or use "
            "trainer.precision=fp32, in a new run directory"
        )

