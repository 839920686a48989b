"""The model keeps the contract of base models, by silmm's conformance kit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from silmm_plugin_example.model import RandomModel

from silmm import BaseModel, Registry
from silmm.testing import Cases, check_registration
from silmm.testing.conformance import BaseModelConformance


class TestRandomModel(BaseModelConformance):
    """Every check of the kit; one of something that the model does not declare is skipped."""

    samples = 64

    @pytest.fixture
    def make(self) -> Callable[[], BaseModel]:
        """Return what builds the model, with the same weights each time."""
        return RandomModel

    @pytest.fixture
    def cases(self) -> Cases:
        """Return prompts of unequal length, and unequal numbers of questions."""
        return Cases(
            prompts=["a red circle", "a blue square left of a small red circle", "three dogs"],
            questions=[["Is there a circle?"], ["Is it blue?", "Is there a square in the image?"], []],
        )

    def test_registration(self, model: BaseModel) -> None:
        """The installed package registers the model as what it is."""
        check_registration(Registry.load().entry("model", "plugin-example-model"), model)
