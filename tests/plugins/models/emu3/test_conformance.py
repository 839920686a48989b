"""Emu3 keeps the contract of base models, by the kit that plugin authors get."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from silmm_plugins.models.emu3.model import Emu3

from silmm.registry.registry import Registry
from silmm.testing import Cases, check_registration
from silmm.testing.conformance import BaseModelConformance
from tests.plugins.models.emu3.loading import load, tiny

CASES = Cases(
    prompts=["a cat", "a red cube on the left of a blue sphere", "two cats"],
    questions=[["Is there a cat?"], ["Is the cube red?", "Is there a sphere on the left of the cube?"], []],
)
UNGUIDED = {"guidance": 1.0}
"""Guided sampling is not sampling from pi; batches under guidance have tests of their own."""


class _Emu3(BaseModelConformance):
    @pytest.fixture
    def cases(self) -> Cases:
        return CASES

    def test_registration(self, model: Emu3) -> None:
        """It is what it is registered as."""
        check_registration(Registry.load().entry("model", "emu3"), model)


@pytest.mark.slow
class TestTransformersLayout(_Emu3):
    """Random weights in the -hf layout, with Chat in the original one."""

    @pytest.fixture
    def make(self, written: Path) -> Callable[[], Emu3]:
        return lambda: tiny(written, "Emu3-Gen-hf", **UNGUIDED)


@pytest.mark.slow
class TestOriginalLayout(_Emu3):
    """Random weights in the original layout, which answers its questions itself."""

    @pytest.fixture
    def make(self, written: Path) -> Callable[[], Emu3]:
        return lambda: tiny(written, "Emu3-Gen", judge="self", **UNGUIDED)


class TestRecorded(_Emu3):
    """The recorded checkpoint, all three parts in the original layout, a part at a time in its place."""

    @pytest.fixture
    def make(self, golden: Path) -> Callable[[], Emu3]:
        return lambda: load(golden, offload="always", **UNGUIDED)
