"""Puts a transformers model into memory as a judge: strict about missing weights, quiet, in eval mode."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silmm.errors import DataError, UsageError
from silmm_benchmarks.judges.options import JudgeOptions

if TYPE_CHECKING:
    import torch


_BROKEN = (
    OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, EOFError, ImportError,
    pickle.UnpicklingError,
)
"""What loaders raise on files that are cut off or of another kind."""


@dataclass(frozen=True)
class Placement:
    """Where a judge computes and in which precision."""

    device: torch.device
    dtype: torch.dtype
    batch: int

    @classmethod
    def of(cls, options: JudgeOptions) -> Placement:
        """Read the options.

        Raises:
            UsageError: there is no such device.
        """
        import torch

        return cls(usable_device(options.device), getattr(torch, options.dtype), options.batch)

    @property
    def identity(self) -> dict[str, str]:
        """The precision; answers depend on it, and on the device only by rounding."""
        return {"dtype": str(self.dtype).removeprefix("torch.")}

    def chunks(self, count: int) -> Iterator[slice]:
        """Cut 0..count into batches."""
        for start in range(0, count, self.batch):
            yield slice(start, start + self.batch)


def usable_device(name: str) -> torch.device:
    """Return the device of an option: auto, cpu, cuda or cuda:N.

    Raises:
        UsageError: there is no such device.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"device {name!r} is none of auto, cpu, cuda, cuda:N ({error})") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"device {name!r}: torch sees {torch.cuda.device_count()} GPUs; take device=cpu")
    return device


def load_pretrained(cls: Any, folder: Path, placement: Placement, unused: str = "\0") -> Any:
    """Return the model of class `cls` in `folder`, on its device, in eval mode.

    Args:
        cls: a model class of transformers.
        folder: with config and weights.
        placement: device and precision.
        unused: prefix of weights that the judge never uses, which may be missing.

    Raises:
        DataError: files are missing or broken, or a weight of the model is not among them (transformers
            would sample it at random and go on).
    """
    with broken_weights(folder), _quiet():
        model, info = cls.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, dtype=placement.dtype,
            output_loading_info=True,
        )
    lost = [str(key) for key in [*info["missing_keys"], *info.get("mismatched_keys", ())]]
    missing = sorted(key for key in lost if not key.startswith(unused))
    if missing:
        raise DataError(
            f"{folder} lacks {len(missing)} weights of a {cls.__name__}, for example {missing[0]}; it is "
            "another model's folder or an incomplete one. Fetch it again from its home."
        )
    return model.to(placement.device).eval()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' bars and its table of missing weights off the screen; the caller looks itself."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def broken_weights(place: Path) -> Iterator[None]:
    """Turn what torch, safetensors and transformers raise on bad files into our error.

    Raises:
        DataError: a file at `place` is missing, cut off or of another kind.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (*_BROKEN, SafetensorError) as error:
        first = " ".join(line.strip() for line in str(error).strip().splitlines()[:2])
        raise DataError(
            f"The weights at {place} cannot be loaded ({type(error).__name__}: {first}). Fetch them again "
            "from their home, or name the right file or folder."
        ) from error
