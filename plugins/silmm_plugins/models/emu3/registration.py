"""Registration of `emu3`: what it can do, its options, and the settings that suit its size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm_plugins.models.emu3.options import CAPABILITIES, DEFAULTS, Emu3Options

if TYPE_CHECKING:
    from silmm.contracts.models import BaseModel
    from silmm.contracts.registration import Register









def register_models(register: Register) -> None:
    """Register Emu3."""
    register(
        "emu3",
        _build,
        options=Emu3Options,
        summary="Emu3 (8B): Emu3-Gen samples and is tuned, Emu3-Chat answers; set model.path.",
        kind="discrete",
        capabilities=CAPABILITIES,
        defaults=DEFAULTS,
        paper="Wang et al. 2024 (arXiv 2409.18869)",
    )


def _build(options: Emu3Options) -> BaseModel:
    from silmm_plugins.models.emu3.model import Emu3

    return Emu3.load(options)
