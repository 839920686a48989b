"""Reads an official UniDet checkpoint strictly: every name and shape, finite numbers, sound variances."""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from silmm.errors import DataError
from silmm_benchmarks.judges.unidet.architecture import Architecture
from silmm_benchmarks.judges.unidet.layers import EPS
from silmm_benchmarks.judges.unidet.network import UniDet

_UNREADABLE = (
    OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, struct.error,
    LookupError, AttributeError, TypeError,
)  # fmt: skip
"""What torch and safetensors raise on cut, foreign or hostile files."""
NAMED = 5
"""Names that a message tells in full."""
MENDED = 1e-12
"""What variance + eps becomes on request where it is not above 0."""
COUNTER = ".num_batches_tracked"
_UNUSED = re.compile(
    r"pixel_mean|pixel_std|proposal_generator\.anchor_generator\.cell_anchors\.\d+|.*\.num_batches_tracked"
)
"""Names beyond the network's own that a file may hold; their values are taken from the configuration."""


def load_network(path: Path, architecture: Architecture, *, repair: bool = False) -> tuple[UniDet, int]:
    """Return the network with the weights of a file, in float32, and the number of mended variances.

    Args:
        path: the published .pth (unpickled as tensors alone), or the same table as .safetensors.
        architecture: decides the names and shapes.
        repair: see :func:`_sound_variances`.

    Raises:
        DataError: the file is unreadable, holds other things than tensors, does not fit the architecture,
            or holds numbers that cannot be right; names what and what to do.
    """
    with torch.device("meta"):
        model = UniDet(architecture)
    state = _fitting(path, read_table(path), model)
    mended = _sound_variances(path, state, repair)
    model.load_state_dict(state, assign=True)
    return model.eval().requires_grad_(False), mended


def read_table(path: Path) -> dict[str, Any]:
    """Return a file's table of arrays by name, taken out of the wrapper `model` if there is one.

    Raises:
        DataError: the file is unreadable or holds more than arrays and plain values.
    """
    try:
        data = _unpacked(path)
    except _UNREADABLE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path} cannot be read as arrays alone ({reason}). Download it again; a file that holds other "
            "objects is not opened, since opening could run code of it."
        ) from None
    inner = data.get("model", data) if isinstance(data, dict) else data
    if not isinstance(inner, dict) or not inner:
        raise DataError(f"{path} holds no table of arrays by name; is it the published checkpoint?")
    return {str(name): value for name, value in inner.items()}


def _unpacked(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(str(error)) from None
    with _numpy_allowed():
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))


def _numpy_allowed() -> Any:
    """Let the restricted unpickler rebuild plain numpy arrays, which detectron2's own files hold."""
    allow = getattr(torch.serialization, "safe_globals", None)  # torch 2.5 and later
    if allow is None:
        return nullcontext()
    rebuild = np.zeros(0).__reduce__()[0]
    kinds = {type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8")}
    old, new = (f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core"))
    encode = b"".__reduce_ex__(2)[0]  # how protocol 2 writes bytes
    return allow([(rebuild, old), (rebuild, new), np.ndarray, np.dtype, *kinds, encode])


def _fitting(path: Path, table: Mapping[str, Any], model: UniDet) -> dict[str, Tensor]:
    """Return what the network needs of a table, each tensor its own copy."""
    wanted = model.state_dict()
    absent = [name for name in wanted if name not in table and not name.endswith(COUNTER)]
    unknown = [name for name in table if name not in wanted and not _UNUSED.fullmatch(name)]
    arrays = {name: table[name] for name in wanted if name in table}
    shaped = {name: tuple(getattr(value, "shape", ("no array",))) for name, value in arrays.items()}
    other = [
        f"{name} {shape} instead of {tuple(wanted[name].shape)}"
        for name, shape in shaped.items() if shape != tuple(wanted[name].shape)
    ]
    problems = [
        f"{len(names)} {what}: {_named(names)}"
        for what, names in (("missing", absent), ("unknown", unknown), ("of another shape", other)) if names
    ]
    if problems:
        raise DataError(
            f"{path} is not a checkpoint of {model.architecture.name}: {'; '.join(problems)}. "
            f"{_recognised(table)}"
        )
    state = {
        name: torch.as_tensor(arrays[name]).to(value.dtype, copy=True)
        if name in arrays else torch.zeros((), dtype=value.dtype)
        for name, value in wanted.items()
    }
    broken = [name for name, value in state.items() if not value.isfinite().all()]
    if broken:
        raise DataError(
            f"{path} is damaged: numbers that are not finite in {_named(broken)}. Download it again."
        )
    return state


def _sound_variances(path: Path, state: dict[str, Tensor], repair: bool) -> int:
    """Refuse norms that would divide by 0 or take the root of a negative number, or mend them.

    detectron2 once subtracted eps from variances when it froze norms; channels that were always 0 then give
    NaN, and the original code silently scores 0 (spec/unidet.md 10).
    """
    low = {
        name: value + EPS <= 0 for name, value in state.items() if name.endswith(".running_var")
    }
    bad = [name for name, mask in low.items() if mask.any()]
    if bad and not repair:
        raise DataError(
            f"{path}: variance + {EPS} is not above 0 in {len(bad)} norms ({_named(bad)}), so the network "
            "would give NaN and find nothing. Download the file again; if it stays so, repair_variances=true "
            f"raises the sum to {MENDED}, which the original code does not do, and results say so."
        )
    for name in bad:
        state[name][low[name]] = MENDED - EPS
    return sum(int(low[name].sum()) for name in bad)


def _recognised(table: Mapping[str, Any]) -> str:
    """Say what a file seems to be."""
    if any("cls_score." in name and name.split("cls_score.")[1][0].isdigit() for name in table):
        return "It looks like a partitioned UniDet of several classifiers, which the benchmark does not use."
    if not any(name.startswith("roi_heads.box_predictor.2.") for name in table):
        return "It does not look like a UniDet checkpoint."
    attention = any(".conv2.fc1." in name for name in table)
    return f"It looks like {'unidet-rs200' if attention else 'unidet-r50'}."


def _named(names: Iterable[str]) -> str:
    listed = list(names)
    rest = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return ", ".join(listed[:NAMED]) + rest
