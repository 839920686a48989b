"""Checkpoints of the training script: safe files only, replaced whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn


def save(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Write weights, optimizer moments and the step so that :func:`load` goes on from there."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{k}": v.contiguous() for k, v in _unique(module).items()}
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            tensors[f"optimizer.{index}.{key}"] = torch.as_tensor(value)
    partial = folder / "last.partial"
    save_file(tensors, partial, metadata={"step": json.dumps(step)})
    partial.replace(folder / "last.safetensors")


def load(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Restore what :func:`save` wrote and return its step; 0 when there is nothing yet."""
    path = folder / "last.safetensors"
    if not path.exists():
        return 0
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        step = int(json.loads(file.metadata()["step"]))
    tensors = load_file(path)
    model = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    missing, unexpected = module.load_state_dict(model, strict=False)
    tied = {name for name in missing if name not in _unique(module)}
    if unexpected or set(missing) - tied:
        raise ValueError(f"{path} does not fit the model: {missing} {unexpected}")
    state: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".")
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return step


def _unique(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return the state dict without the second name of a tied tensor."""
    pointers: set[int] = set()
    kept = {}
    for name, tensor in module.state_dict().items():
        if tensor.data_ptr() not in pointers:
            pointers.add(tensor.data_ptr())
            kept[name] = tensor
    return kept
