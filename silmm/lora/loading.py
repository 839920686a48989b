"""Puts an adapter on a base model, whatever way the model has of carrying it; imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from silmm.contracts.models import BaseModel


def load_adapter(model: BaseModel, folder: Path | None) -> None:
    """Put the adapter of `folder` on a model, replacing any; None leaves none.

    A model whose backbone peft cannot wrap has a method `load_adapter(folder)` of its own, which is
    called instead of :func:`silmm.lora.adapters.load_peft_adapter`.

    Raises:
        DataError: the folder is no adapter of this model.
    """
    own = getattr(model, "load_adapter", None)
    if own is None:
        from silmm.lora.adapters import load_peft_adapter  # imported late: needs torch and peft

        load_peft_adapter(model, folder)
    else:
        own(folder)
