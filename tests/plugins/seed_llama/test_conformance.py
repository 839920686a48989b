"""SEED-LLaMA keeps every promise of the conformance kit."""

import pytest
from silmm_plugins.seed_llama.register import SeedLlamaOptions

from silmm.registry import Registry
from silmm.testing import Cases, check_registration
from silmm.testing.conformance import BaseModelConformance
from tests.plugins.seed_llama.tiny_checkpoint import PROMPTS, QUESTIONS, read


class TestSeedLlama(BaseModelConformance):
    """All checks on a checkpoint of the real classes with random weights."""

    @pytest.fixture
    def make(self, checkpoint):
        """Return what loads the checkpoint."""
        return lambda: read(checkpoint)

    @pytest.fixture
    def cases(self):
        """Return prompts of unequal length."""
        return Cases(PROMPTS, QUESTIONS)


def test_it_is_what_it_registers_as(model):
    """Kind and capabilities of the registration are those of the loaded model, and options have defaults."""
    entry = Registry.load().entry("model", "seed-llama")
    check_registration(entry, model)
    assert entry.options is SeedLlamaOptions
