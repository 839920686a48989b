"""The training loop of all LoRA trainers: grouped pairs, several processes, exact resumption."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from accelerate import PartialState
from accelerate.utils import reduce

from silmm.checkpoint.devices import device_of
from silmm.contracts.training import TrainingJob
from silmm.errors import SilmmError
from silmm.lora.adapters import new_adapter, save_adapter, trainable_parameters
from silmm.lora.loading import load_adapter
from silmm.seeds import derive
from silmm_plugins.training.lora.batches import split
from silmm_plugins.training.lora.checkpoints import Position, load_checkpoint, save_checkpoint
from silmm_plugins.training.lora.early_stopping import EarlyStopping
from silmm_plugins.training.lora.gradient_checkpointing import recomputable_layers, recomputed
from silmm_plugins.training.lora.lora_options import LoraOptions, PairOptions
from silmm_plugins.training.objectives import preference_data
from silmm_plugins.training.objectives.objective import MakeObjective, Objective


@dataclass(frozen=True)
class Training:
    """What stays the same through a training run."""

    job: TrainingJob
    options: LoraOptions
    objective: Objective
    digest: str
    parameters: Mapping[str, torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    device: torch.device
    """Where the losses are."""
    layers: Sequence[torch.nn.Module]
    """Those that are recomputed in the backward pass."""


def train_lora(
    job: TrainingJob, options: LoraOptions, make_objective: MakeObjective, identity: Mapping[str, object]
) -> dict[str, float]:
    """Train LoRA weights and write the PEFT folder `job.out`; return the last step's metrics.

    The backbone is left with the tuned adapter on. Metrics of a step are those of the weights before its update,
    so step 1 shows margin 0 and, for DPO, loss ln 2; those of a validation alone are of the weights after it.

    Args:
        job: what is trained, on what, and where.
        options: optimisation; see :class:`LoraOptions`.
        make_objective: called once, with the start adapter on.
        identity: JSON-able; what else decides the result, so that `job.work` is not taken for another's.

    Raises:
        DataError: no usable pairs, or a damaged checkpoint.
        UsageError: the backbone lacks the layers that the options name, or has none that can be recomputed.
        SilmmError: the loss or its gradient is not finite.
    """
    if isinstance(options, PairOptions):
        preference_data.check(job.preferences)
    _join()
    digest = preference_data.digest(
        job.preferences,
        {
            "options": options.model_dump(mode="json"),
            "objective": type(options).__name__,
            "seed": job.seed,
            "start": preference_data.weights_digest(job.start),
            "validated": bool(job.validate and options.validate_every),
            **identity,
        },
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(job.seed, "training"))
        _attach(job, options)
        layers = recomputable_layers(job.model.backbone) if options.gradient_checkpointing else ()
        objective = make_objective(digest)
        parameters = trainable_parameters(job.model)
        optimizer = torch.optim.AdamW(
            list(parameters.values()), lr=options.learning_rate, weight_decay=options.weight_decay
        )
        device = device_of(job.model.backbone)
        metrics = _loop(Training(job, options, objective, digest, parameters, optimizer, device, layers))
    if PartialState().is_main_process:
        save_adapter(job.model, job.out)
    PartialState().wait_for_everyone()
    for parameter in parameters.values():
        parameter.requires_grad_(False)
        parameter.grad = None
    return metrics


def _join() -> None:
    """Let this process be one of its launcher's: the first `PartialState` of a process decides.

    Accelerate needs `cpu=True` where there is no GPU, or each process would take itself for the only process.
    """
    PartialState(cpu="LOCAL_RANK" in os.environ and not torch.cuda.is_available())


def _attach(job: TrainingJob, options: LoraOptions) -> None:
    if job.start is None:
        seed = derive(job.seed, "adapter")
        new_adapter(job.model, rank=options.rank, alpha=options.alpha, seed=seed, layers=options.layers)
    else:
        load_adapter(job.model, job.start)
    job.model.backbone.eval()  # dropout off, in the policy as in the reference


def _loop(training: Training) -> dict[str, float]:
    options, job = training.options, training.job
    position = load_checkpoint(job.work, training.digest, training.parameters, training.optimizer) or Position(0, {})
    stopping = EarlyStopping(options, training.parameters, job.validate, position)
    stopping.begin()
    warned = False
    order = enumerate(training.objective.batches(job.seed), start=1)
    for step, positions in islice(order, position.step, options.max_steps):
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
        job.observe(step, metrics)  # before the checkpoint, so that a resumed run reports every step
        if step % options.checkpoint_every == 0 or step == options.max_steps or stopping.over:
            if PartialState().is_main_process:
                save_checkpoint(job.work, training.digest, position, training.parameters, training.optimizer)
            PartialState().wait_for_everyone()
    stopping.put_best()
    return dict(position.metrics)


def _step(training: Training, step: int, positions: Sequence[int]) -> dict[str, float]:
    """Take one optimizer step on some prompts; return its metrics."""
    options, objective = training.options, training.objective
    positions = objective.begin(step, positions)
    terms = sum(map(objective.terms, positions))
    sums = torch.zeros(1 + objective.width, device=training.device)
    training.optimizer.zero_grad(set_to_none=False)
    for micro_batch in _micro_batches(training, positions):
        with recomputed(training.layers):
            losses, counted = objective.forward(micro_batch)
        loss = losses.sum() / terms
        torch.autograd.backward(loss)
        sums += torch.cat([loss.detach().reshape(1), counted])
    _share(training.parameters, sums)
    mean, *rest = (float(value) for value in sums)
    metrics = {"loss": mean, **objective.metrics(rest, terms)}
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
    share = ordered[state.process_index :: state.num_processes]
    costs = [training.objective.rows(i) for i in share]
    return split(share, costs, training.options.gradient_accumulation_steps) if share else []


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

