"""A vision-language model with a diffusion pipeline keeps every promise that is asked of a base model."""

from __future__ import annotations

import pytest

from silmm.registry.registry import Registry
from silmm.testing import Cases, check_registration
from silmm.testing.conformance import BaseModelConformance
from tests.plugins.models.vlm_diffusion.conftest import load

PROMPTS = ["a cat", "the red cube is on the left of the blue sphere.", "Ä"]
QUESTIONS = [["Is there a cat?"], ["Is there a cube?", "Is the red cube on the left?"], []]


class TestVlmDiffusion(BaseModelConformance):
    """The kit on a pipeline that is written here."""

    @pytest.fixture
    def make(self, written):
        return lambda: load(written)

    @pytest.fixture
    def cases(self):
        return Cases(PROMPTS, QUESTIONS)


def test_it_is_what_its_registration_says(written):
    """Kind and capabilities, by which combinations are refused before loading, are the model's own."""
    check_registration(Registry.load().entry("model", "vlm-diffusion"), load(written))
