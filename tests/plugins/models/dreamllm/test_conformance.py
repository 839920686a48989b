"""DreamLLM keeps every promise that is asked of a base model."""

from __future__ import annotations

import pytest

from silmm.contracts.models import SamplingParams
from silmm.registry.registry import Registry
from silmm.testing import Cases, check_registration
from silmm.testing.conformance import BaseModelConformance
from tests.plugins.models.dreamllm.conftest import load

PROMPTS = ["a cat", "the red cube is on the left of the blue sphere.", "no cat, and a sphere", "Ä"]
QUESTIONS = [["Is there a cat?"], ["Is there a cube?", "Is the red cube on the left?"], [], ["Yes?"] * 3]


class _DreamLlm(BaseModelConformance):
    @pytest.fixture
    def cases(self):
        return Cases(PROMPTS, QUESTIONS, SamplingParams())


@pytest.mark.slow
class TestWritten(_DreamLlm):
    """The kit on a checkpoint that is written here."""

    @pytest.fixture
    def make(self, written):
        return lambda: load(written)


class TestRecorded(_DreamLlm):
    """The kit on the recorded checkpoint."""

    @pytest.fixture
    def make(self, golden):
        return lambda: load(golden / "original")


def test_it_is_what_its_registration_says(written):
    """Kind and capabilities, by which combinations are refused before loading, are the model's own."""
    check_registration(Registry.load().entry("model", "dreamllm"), load(written))
