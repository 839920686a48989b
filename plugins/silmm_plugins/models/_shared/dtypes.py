"""The number format that a model's option names, or that its checkpoint was stored in."""

from __future__ import annotations

import torch

from silmm.errors import DataError

_KNOWN = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def dtype_of(wanted: str, stored: object, source: object) -> torch.dtype:
    """Return the format of the weights.

    Args:
        wanted: "float32", "bfloat16", "float16", or "auto" for the stored one.
        stored: what the checkpoint says, a name or a torch.dtype; nothing is float32.
        source: the file that says so, for messages.

    Raises:
        DataError: the stored one is asked for, and it is none of the three.
    """
    name = str(stored or "float32").removeprefix("torch.") if wanted == "auto" else wanted
    if name not in _KNOWN:
        raise DataError(
            f"{source} says that the weights are {name!r}, which is none of {', '.join(_KNOWN)}; say which "
            "to take, with --set model.dtype=float32"
        )
    return _KNOWN[name]
