"""Files of weights: which ones a folder holds, and their tensors. Nothing in a file ever runs."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from silmm.checkpoint.folders import first_line, read_json
from silmm.errors import DataError

SINGLE_FILES = ("model.safetensors", "pytorch_model.bin")
UNREADABLE = (
    *(OSError, RuntimeError, ValueError, EOFError, LookupError, AttributeError, TypeError, ImportError),
    *(struct.error, zipfile.BadZipFile, pickle.UnpicklingError, SafetensorError),
)
"""What torch, safetensors, transformers and diffusers raise on files that are cut short, foreign or hostile."""


def weight_files(folder: Path, *, pickles: bool = True) -> list[Path]:
    """Return the files that hold a model's weights, in the order in which transformers looks for them.

    A single safetensors file comes before shards with an index, and safetensors before pickles.

    Args:
        folder: the checkpoint.
        pickles: whether ``pytorch_model.bin`` is taken where there are no safetensors.

    Raises:
        DataError: there are none, the index is no index of this folder, or a shard is missing.
    """
    kinds = SINGLE_FILES if pickles else SINGLE_FILES[:1]
    for name in kinds:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            return _shards(index)
    raise DataError(
        f"{folder} holds no weights: expected {' or '.join(kinds)}, or shards with an .index.json; copy the folder "
        "again"
    )


def _shards(index: Path) -> list[Path]:
    table = read_json(index, "the index of the shards").get("weight_map")
    if not isinstance(table, dict) or not table:
        raise DataError(f"{index} maps no weights to files; copy it again")
    names = sorted({str(name) for name in table.values()})
    for name in names:
        if Path(name).name != name or not name.endswith((".safetensors", ".bin")):
            raise DataError(f"{index} names the file {name!r}, which is no file of weights of its own folder")
        if not (index.parent / name).is_file():
            raise DataError(
                f"{index.parent / name} is missing; {index.name} lists {len(names)} files; copy the folder again"
            )
    return [index.parent / name for name in names]


def read_weights(files: Iterable[Path], prefix: str = "") -> dict[str, Tensor]:
    """Return the tensors of files by name, on the CPU, mapped into memory where torch can.

    Args:
        files: as :func:`weight_files` returns them.
        prefix: takes the tensors whose names begin with it alone, under the rest of their names.

    Raises:
        DataError: a file is missing, damaged, or holds anything but tensors.
    """
    weights: dict[str, Tensor] = {}
    for path in files:
        if path.suffix == ".safetensors":
            weights |= _read_safetensors(path, prefix)
        else:
            pickled = read_pickle(path).items()
            weights |= {name.removeprefix(prefix): tensor for name, tensor in pickled if name.startswith(prefix)}
    return weights


def _read_safetensors(path: Path, prefix: str = "") -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118 - it is no dict
            return {name.removeprefix(prefix): file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error


def check_safetensors(files: Iterable[Path]) -> None:
    """Compare the header of each safetensors file with its length; other files pass.

    Raises:
        DataError: a file is missing, cut short or damaged; the message names it.
    """
    for path in files:
        if path.suffix == ".safetensors":
            try:
                with safe_open(path, framework="pt"):
                    pass
            except (OSError, SafetensorError) as error:
                raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    if not path.is_file():
        return DataError(f"{path} is missing; copy the checkpoint again")
    reason = first_line(error).split(". ")[0]
    return DataError(f"{path} cannot be read as weights: it is cut short or damaged ({reason}); copy it again")


def unpickle(path: Path) -> Any:
    """Return what a .bin, .pt or .pth file holds: tensors and plain values alone, on the CPU, mapped where torch can.

    Raises:
        DataError: the file is missing, damaged, or holds other objects.
    """
    try:
        mapped = zipfile.is_zipfile(path)  # files of before torch 1.6 cannot be mapped
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:  # torch's own message proposes to run what is in the file
        raise DataError(
            f"{path} cannot be read as weights: it is damaged, or holds more than tensors, and reading that could "
            "run code; get the file from its source again"
        ) from error
    except UNREADABLE as error:
        raise _damaged(path, error) from error


def read_pickle(path: Path, wrappers: Sequence[str] = ()) -> dict[str, Tensor]:
    """Return the tensors of a .bin, .pt or .pth file by name.

    Args:
        path: the file.
        wrappers: keys under which some releases keep the whole table, one in the other.

    Raises:
        DataError: the file is missing, damaged, or holds anything but tensors by name.
    """
    return tensor_table(path, unpickle(path), wrappers)


def tensor_table(path: Path, data: Any, wrappers: Sequence[str] = ()) -> dict[str, Tensor]:
    """Return the tensors by name in what :func:`unpickle` returned; `path` is for the message.

    Raises:
        DataError: `data` does not map names to tensors.
    """
    for wrapper in wrappers:
        if isinstance(data, dict) and isinstance(data.get(wrapper), dict):
            data = data[wrapper]
    if not isinstance(data, dict) or not all(isinstance(value, Tensor) for value in data.values()):
        raise DataError(
            f"{path} cannot be read as weights: it does not map names to tensors, so it is another kind of file; take "
            "the one of the release"
        )
    return {str(name): tensor for name, tensor in data.items()}
