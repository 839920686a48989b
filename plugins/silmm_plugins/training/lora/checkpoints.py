"""Training checkpoints: adapter, optimizer, position and RNG as safetensors and JSON."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from silmm.errors import DataError
from silmm.storage.atomic_files import atomic_folder

_PATTERN = "checkpoint-*"
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Position:
    """Where a training run stands after a step."""

    step: int
    """Steps done; the learning rate and the data order follow from it."""
    metrics: Mapping[str, float]
    """Of that step."""
    series: tuple[tuple[int, float], ...] = ()
    """(step, score) of each validation so far."""
    best: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """The weights of the best validation, by the parameters' names, where they are kept."""


def save_checkpoint(
    work: Path,
    digest: str,
    position: Position,
    parameters: Mapping[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write a checkpoint of `position`, then delete the older ones."""
    tensors = {"rng": torch.get_rng_state()}
    for name, parameter in parameters.items():
        tensors[f"adapter/{name}"] = parameter.detach().cpu().contiguous()
        for moment in _MOMENTS:
            tensors[f"{moment}/{name}"] = optimizer.state[parameter][moment].cpu().contiguous()
    tensors |= {f"best/{name}": weights.contiguous() for name, weights in position.best.items()}
    record = {"digest": digest, "step": position.step, "metrics": dict(position.metrics)}
    if position.series:
        record["series"] = position.series
    folder = Path(work) / f"checkpoint-{position.step:08d}"
    with atomic_folder(folder) as staging:
        (staging / "state.safetensors").write_bytes(save(tensors))
        (staging / "position.json").write_text(json.dumps(record, sort_keys=True), encoding="utf-8")
    for other in _folders(work):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def load_checkpoint(
    work: Path,
    digest: str,
    parameters: Mapping[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> Position | None:
    """Restore the newest checkpoint of this very training into place; None when there is none.

    Checkpoints of other data or settings (another digest) are left aside and later deleted.

    Raises:
        DataError: the checkpoint is damaged.
    """
    for folder in reversed(_folders(work)):
        try:
            record = json.loads((folder / "position.json").read_text(encoding="utf-8"))
            if record["digest"] != digest:
                continue
            tensors = load_file(folder / "state.safetensors")
            _restore(tensors, record["step"], parameters, optimizer)
            series = tuple((int(step), float(score)) for step, score in record.get("series", ()))
            best = _best(tensors, parameters)
            return Position(record["step"], dict(record["metrics"]), series, best)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise DataError(
                f"training checkpoint {folder} cannot be read ({error!r}); delete the folder "
                f"{folder} and run the same command again to train anew"
            ) from error
    return None


def _folders(work: Path) -> list[Path]:
    return sorted(Path(work).glob(_PATTERN))


def _best(
    tensors: Mapping[str, torch.Tensor], parameters: Mapping[str, torch.nn.Parameter]
) -> dict[str, torch.Tensor]:
    if not any(name.startswith("best/") for name in tensors):
        return {}
    return {name: _like(parameter, tensors, f"best/{name}") for name, parameter in parameters.items()}


def _restore(
    tensors: Mapping[str, torch.Tensor],
    step: int,
    parameters: Mapping[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> None:
    states = {}
    for index, (name, parameter) in enumerate(parameters.items()):
        with torch.no_grad():
            parameter.copy_(_like(parameter, tensors, f"adapter/{name}"))
        states[index] = {moment: _like(parameter, tensors, f"{moment}/{name}") for moment in _MOMENTS}
        states[index]["step"] = torch.tensor(float(step))
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": states, "param_groups": groups})
    torch.set_rng_state(tensors["rng"])


def _like(
    parameter: torch.nn.Parameter, tensors: Mapping[str, torch.Tensor], name: str
) -> torch.Tensor:
    """Return a stored tensor; another shape must not be broadcast into the parameter's place."""
    if tensors[name].shape != parameter.shape:
        raise ValueError(f"{name} has shape {list(tensors[name].shape)}, not {list(parameter.shape)}")
    return tensors[name]
