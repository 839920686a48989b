"""Weights of a checkpoint folder: which files hold them, whether all are there, and reading them safely."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from silmm.errors import DataError
from silmm_plugins.models._shared.pickled_weights import read_pickled

_SINGLE = ("model.safetensors", "pytorch_model.bin")


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold the weights; safetensors come before .bin, shards in their index's order.

    Raises:
        DataError: there are none, the index is no index, or a shard that it names is missing.
    """
    for single in _SINGLE:
        index = folder / f"{single}.index.json"
        if index.is_file():
            return _shards(index)
        if (folder / single).is_file():
            return [folder / single]
    raise DataError(
        f"{folder} holds no weights: expected {' or '.join(_SINGLE)}, or shards with an .index.json; "
        "download the folder again"
    )


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return all tensors by their name in the files, on the CPU; .bin files are read as weights only.

    Raises:
        DataError: as :func:`weight_files`, or a file is damaged or holds more than tensors.
    """
    weights: dict[str, torch.Tensor] = {}
    for path in weight_files(folder):
        weights |= _read_safe(path) if path.suffix == ".safetensors" else read_pickled(path)
    return weights


def _read_safe(path: Path) -> dict[str, torch.Tensor]:
    try:
        found: dict[str, torch.Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"{path} cannot be read ({error}): it is cut short, damaged or no file of weights; download it "
            "again"
        ) from error
    return found


def _shards(index: Path) -> list[Path]:
    try:
        names = list(dict.fromkeys(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        odd = [name for name in names if not isinstance(name, str) or Path(name).name != name]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{index} is no index of weights ({error!r}); download it again") from error
    if odd:
        raise DataError(f"{index} names {odd[0]!r}, which is no file of its own folder; it is not read")
    paths = [index.parent / name for name in names]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise DataError(
            f"{index.parent} lacks {', '.join(missing)}: {len(missing)} of the {len(paths)} shards that "
            f"{index.name} names; download them again"
        )
    return paths
