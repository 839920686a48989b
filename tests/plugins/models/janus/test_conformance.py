"""Janus keeps the contract of base models, with random weights and with the recorded ones."""

from __future__ import annotations

import pytest

from silmm.registry.registry import Registry
from silmm.testing import Cases, check_registration
from silmm.testing.conformance import BaseModelConformance

CASES = Cases(
    prompts=["a cat", "A photo of a red cube on the left of a blue sphere.", "three pears"],
    questions=[
        ["Is there a cat?"],
        ["Is the red cube on the left of the blue sphere? Answer yes or no.", "Is it blue?"],
        [],
    ],
)


class _Janus(BaseModelConformance):
    @pytest.fixture
    def cases(self):
        """Prompts of a few and of many tokens."""
        return CASES

    def test_registration(self, model):
        """It is what it is registered as."""
        check_registration(Registry.load().entry("model", "janus"), model)


@pytest.mark.slow
class TestRandom(_Janus):
    """A random checkpoint, sampled without guidance, as the likelihood is."""

    @pytest.fixture
    def make(self, load, folder):
        """Load the folder anew."""
        return lambda: load(folder, guidance=1.0)


class TestRecorded(_Janus):
    """The recorded checkpoint in its original layout."""

    samples = 128

    @pytest.fixture
    def make(self, load, recorded):
        """Load the folder anew."""
        return lambda: load(recorded / "original", guidance=1.0)
