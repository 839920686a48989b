"""Reads an official UniDet checkpoint strictly: every name and shape, finite numbers, sound variances."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from silmm.checkpoint.weight_files import read_weights, unpickle
from silmm.errors import DataError
from silmm_benchmarks.judges.unidet.architecture import Architecture
from silmm_benchmarks.judges.unidet.backbones import EPS
from silmm_benchmarks.judges.unidet.network import UniDet

_NUMBERS = ("?", "u1", "i1", "i2", "i4", "i8", "f2", "f4", "f8")
NAMED = 5
"""Names that a message lists in full."""
MENDED = 1e-12
"""What variance + eps becomes on request where it is not above 0."""
COUNTER = ".num_batches_tracked"
_UNUSED = re.compile(
    r"pixel_mean|pixel_std|proposal_generator\.anchor_generator\.cell_anchors\.\d+|.*\.num_batches_tracked"
)
"""Names beyond the network's own that a file may hold; their values are taken from the configuration."""
_PARTITIONED = re.compile(r"\bcls_score\.\d")


@dataclass(frozen=True)
class Differences:
    """What a file's table of arrays lacks, and what it holds besides a network's own names."""

    missing: list[str]
    """Counters left out: they are never read."""
    unknown: list[str]
    """Names that the file may not hold."""
    misshapen: list[str]
    """Name, shape in the file, shape of the network."""
    unused: list[str]
    """Names that it may hold beyond the network's."""

    def problems(self, named: int | None = None) -> list[str]:
        """Return a text for each kind of difference that is none of the allowed ones."""
        listed = (("missing", self.missing), ("unknown", self.unknown), ("of another shape", self.misshapen))
        return [f"{len(names)} {what}: {_named(names, named or NAMED)}" for what, names in listed if names]


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
    return table_of(path, unpack(path))


def table_of(path: Path, data: Any) -> dict[str, Any]:
    """Return the table of arrays in what a file holds; `path` is for the message.

    Raises:
        DataError: there is none.
    """
    inner = data.get("model", data) if isinstance(data, dict) else data
    if not isinstance(inner, dict) or not inner:
        raise DataError(f"{path} holds no table of arrays by name; is it the published checkpoint?")
    return {str(name): value for name, value in inner.items()}


def unpack(path: Path) -> Any:
    """Return all that a file holds: a table of arrays, perhaps in a wrapper with a training's state.

    Raises:
        DataError: the file is unreadable or holds more than arrays and plain values.
    """
    if path.suffix == ".safetensors":
        return read_weights([path])
    with _numpy_allowed():
        return unpickle(path)


def _numpy_allowed() -> Any:
    """Let the restricted unpickler rebuild numpy's arrays and numbers.

    detectron2's files hold them: arrays of weights, and numbers in the state of a learning-rate schedule.
    """
    allow = getattr(torch.serialization, "safe_globals", None)  # torch 2.5 and later
    if allow is None:
        return nullcontext()
    makers = {"_reconstruct": np.zeros(0).__reduce__()[0], "scalar": np.float64().__reduce__()[0]}
    named = [
        (maker, f"numpy.{core}.multiarray.{name}")
        for name, maker in makers.items() for core in ("core", "_core")  # the module's old and new name
    ]
    kinds = {type(np.dtype(kind)) for kind in _NUMBERS}  # numbers alone: arrays of objects stay shut
    encode = b"".__reduce_ex__(2)[0]  # how protocol 2 writes bytes
    return allow([*named, np.ndarray, np.dtype, *kinds, encode])


def differences(table: Mapping[str, Any], wanted: Mapping[str, Tensor]) -> Differences:
    """Compare a file's table with a network's state dict."""
    present = {name: table[name] for name in wanted if name in table}
    shapes = {
        name: tuple(value.shape) if is_array(value) else ("no array of numbers",)
        for name, value in present.items()
    }
    other = [name for name in table if name not in wanted]
    return Differences(
        missing=[name for name in wanted if name not in table and not name.endswith(COUNTER)],
        unknown=[name for name in other if not _UNUSED.fullmatch(name)],
        misshapen=[
            f"{name} {shape} instead of {tuple(wanted[name].shape)}"
            for name, shape in shapes.items() if shape != tuple(wanted[name].shape)
        ],
        unused=[name for name in other if _UNUSED.fullmatch(name)],
    )


def is_array(value: Any) -> bool:
    """Return whether a value of a table is an array of numbers, of torch or of numpy."""
    return isinstance(value, Tensor) or (isinstance(value, np.ndarray) and value.dtype.kind in "biuf")


def _fitting(path: Path, table: Mapping[str, Any], model: UniDet) -> dict[str, Tensor]:
    """Return what the network needs of a table, each tensor its own copy."""
    wanted = model.state_dict()
    problems = differences(table, wanted).problems()
    if problems:
        raise DataError(
            f"{path} is not a checkpoint of {model.architecture.name}: {'; '.join(problems)}. "
            f"It resembles {recognised(table)}."
        )
    state = {
        name: torch.as_tensor(table[name]).to(value.dtype, copy=True)
        if name in table else torch.zeros((), dtype=value.dtype)
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
    NaN, and the original code silently scores 0 (docs/spec/unidet.md 10).
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


def recognised(table: Mapping[str, Any]) -> str:
    """Return what a file seems to be, by its names."""
    if any(_PARTITIONED.search(name) for name in table):
        return "a partitioned UniDet of several classifiers, which the benchmark does not use"
    if not any(name.startswith("roi_heads.box_predictor.2.") for name in table):
        return "no UniDet checkpoint"
    return "unidet-rs200" if any(".conv2.fc1." in name for name in table) else "unidet-r50"


def _named(names: Iterable[str], most: int = NAMED) -> str:
    listed = list(names)
    rest = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + rest
