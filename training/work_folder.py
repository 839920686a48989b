"""What a training keeps in its work directory: its recipe, pools of scenes, checkpoints; and the export of weights.

All files are safe and replaced whole, so that a killed training goes on from them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn

_Job = TypeVar("_Job")


def keep_recipe(path: Path, recipe: Mapping[str, Any]) -> None:
    """Write the recipe of a work directory, or compare it with the one that is there.

    Raises:
        SystemExit: the directory belongs to another recipe; parts of the two must not be mixed.
    """
    if not path.exists():
        path.write_text(json.dumps(recipe, indent=1) + "\n")
    elif json.loads(path.read_text()) != recipe:
        raise SystemExit(f"{path.parent} was made by another recipe ({path.name}); give another --work")


def keep_pool(
    path: Path, worker: Callable[[_Job], Mapping[str, NDArray[Any]]], jobs: Sequence[_Job], workers: int = 2
) -> Path:
    """Make a pool of arrays in `workers` processes and keep it at `path` (.npz), unless it is there."""
    if not path.exists():
        with get_context("spawn").Pool(workers) as pool:
            parts = pool.map(worker, jobs, chunksize=1)
        merged = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, **merged)  # type: ignore[arg-type]
        partial.rename(path)
    return path


def save_checkpoint(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Write weights, optimizer moments and the step, from which :func:`load_checkpoint` goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{name}": tensor.contiguous() for name, tensor in _unique(module).items()}
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            tensors[f"optimizer.{index}.{key}"] = torch.as_tensor(value)
    partial = folder / "last.partial"
    save_file(tensors, partial, metadata={"step": json.dumps(step)})
    partial.replace(folder / "last.safetensors")


def load_checkpoint(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Restore a checkpoint of :func:`save_checkpoint` and return its step; 0 where there is none."""
    path = folder / "last.safetensors"
    if not path.exists():
        return 0
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        step = int(json.loads(file.metadata()["step"]))
    tensors = load_file(path)
    model = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
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
    unique = {}
    for name, tensor in module.state_dict().items():
        if tensor.data_ptr() not in pointers:
            pointers.add(tensor.data_ptr())
            unique[name] = tensor
    return unique


def export_weights(
    folder: Path, config: Mapping[str, Any], networks: Mapping[str, nn.Module], dtype: torch.dtype | None = None
) -> None:
    """Write weights as the package ships them: config.json, NAME.safetensors per network, sha256.json.

    Args:
        folder: where to write.
        config: words and sizes.
        networks: by the names of their files.
        dtype: what floating-point weights are converted to; None keeps them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    for network, module in networks.items():
        tensors = {name: t if dtype is None else t.to(dtype) for name, t in module.state_dict().items()}
        kept = {name: t.contiguous() for name, t in tensors.items() if "lm_head" not in name}
        save_file(kept, folder / f"{network}.safetensors")
    files = ("config.json", *(f"{network}.safetensors" for network in networks))
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files}
    (folder / "sha256.json").write_text(json.dumps(hashes, indent=1, sort_keys=True) + "\n")
