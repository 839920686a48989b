"""Puts a transformers model into memory as a judge: strict about missing weights, quiet, in eval mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silmm.errors import DataError
from silmm_benchmarks.judges.options import JudgeOptions

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Placement:
    """Where a judge computes and in which precision."""

    device: torch.device
    dtype: torch.dtype
    batch_size: int

    @classmethod
    def of(cls, options: JudgeOptions) -> Placement:
        """Read the options.

        Raises:
            UsageError: there is no such device.
        """
        import torch

        from silmm.checkpoint.devices import check_device

        device = check_device("the judge", options.device, "its option device")
        return cls(device, getattr(torch, options.dtype), options.batch_size)

    @property
    def identity(self) -> dict[str, str]:
        """The precision; answers depend on it, and on the device only by rounding."""
        return {"dtype": str(self.dtype).removeprefix("torch.")}

    def chunks(self, count: int) -> Iterator[slice]:
        """Cut 0..count into batches."""
        for start in range(0, count, self.batch_size):
            yield slice(start, start + self.batch_size)


def load_pretrained(cls: Any, folder: Path, placement: Placement, unused: str = "\0") -> Any:
    """Return the model of class `cls` in `folder`, on its device, strict about its weights.

    Args:
        cls: a model class of transformers.
        folder: with config and weights.
        placement: device and precision.
        unused: prefix of weights that the judge never uses, which may be missing.
    """
    from silmm.checkpoint import networks

    return networks.load_pretrained(cls, folder, placement.dtype, unused=unused).to(placement.device)


@contextmanager
def broken_weights(path: Path) -> Iterator[None]:
    """Turn what torch, safetensors and transformers raise on bad files into our error.

    Raises:
        DataError: a file at `path` is missing, cut off or of another kind.
    """
    from silmm.checkpoint.weight_files import UNREADABLE

    try:
        yield
    except UNREADABLE as error:
        first = " ".join(line.strip() for line in str(error).strip().splitlines()[:2])
        raise DataError(
            f"The weights at {path} cannot be loaded ({type(error).__name__}: {first}). Fetch them again "
            "from their home, or name the right file or folder."
        ) from error
