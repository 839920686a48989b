"""Pickled weights, read as tensors alone: nothing in a file ever runs."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from silmm.errors import DataError

_DAMAGED = (OSError, RuntimeError, ValueError, EOFError, zipfile.BadZipFile)


def read_pickled(path: Path, wrapper: str = "") -> dict[str, Tensor]:
    """Return the tensors of a .bin, .pt or .pth file by name, on the CPU, mapped into memory where torch can.

    Args:
        path: the file.
        wrapper: a key under which some releases keep the whole table.

    Raises:
        DataError: the file is missing, damaged, or holds anything but tensors by name.
    """
    try:
        mapped = zipfile.is_zipfile(path)  # files of before torch 1.6 cannot be mapped
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:  # torch's own message proposes to run what is in the file
        raise DataError(
            f"{path} cannot be read as weights: it is damaged, or holds more than tensors, and reading that "
            "could run code; get the file from its source again"
        ) from error
    except _DAMAGED as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].split(". ")[0]
        raise DataError(
            f"{path} cannot be read as weights: it is cut short or damaged ({reason}); copy it again"
        ) from error
    if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
        found = found[wrapper]
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise DataError(
            f"{path} cannot be read as weights: it does not map names to tensors, so it is another kind of "
            "file; take the one of the release"
        )
    return {str(name): tensor for name, tensor in found.items()}
