"""The embedded models keep the contract of base models, by the kit that plugin authors get."""

from __future__ import annotations

import pytest
from silmm_plugins.models.tiny_continuous.model import TinyContinuous
from silmm_plugins.models.tiny_discrete.model import TinyDiscrete

from silmm.registry.registry import Registry
from silmm.testing import Cases, check_registration
from silmm.testing.conformance import BaseModelConformance

CASES = Cases(
    prompts=["a red circle", "a blue square and a red circle", "a striped square"],
    questions=[["is there a circle?"], ["is there a red square?", "a circle?", "is there a square?"], []],
    tolerance=2e-4,  # float32 sums in another order, after six layers
)


class TestTinyDiscrete(BaseModelConformance):
    """The shipped discrete model."""

    samples = 64

    @pytest.fixture
    def make(self):
        return TinyDiscrete.load

    @pytest.fixture
    def cases(self):
        return CASES

    def test_registration(self, model):
        """It is what it is registered as."""
        check_registration(Registry.load().entry("model", "tiny-discrete"), model)


class TestTinyContinuous(BaseModelConformance):
    """The shipped continuous model."""

    @pytest.fixture
    def make(self):
        return TinyContinuous.load

    @pytest.fixture
    def cases(self):
        return CASES

    def test_registration(self, model):
        """It is what it is registered as."""
        check_registration(Registry.load().entry("model", "tiny-continuous"), model)
