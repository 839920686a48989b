"""Loading the checkpoints of these tests with options that suit their size."""

from __future__ import annotations

from pathlib import Path

from silmm_plugins.models.emu3.model import Emu3
from silmm_plugins.models.emu3.options import Emu3Options


def load(path: Path | str, **options: object) -> Emu3:
    """Load a checkpoint; images of 4x4 codes unless said otherwise."""
    return Emu3.load(Emu3Options(path=str(path), **{"image_area": 1024, "device": "cpu", **options}))


def tiny(folder: Path, layout: str = "Emu3-Gen-hf", **options: object) -> Emu3:
    """Load a layout of the checkpoints written here, which share the vision tokenizer of the -hf folder."""
    return load(folder / layout, **{"vision": str(folder / "Emu3-Gen-hf"), **options})
