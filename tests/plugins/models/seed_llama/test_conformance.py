"""SEED-LLaMA keeps every promise of the conformance kit."""

import pytest
from silmm_plugins.models.seed_llama.model import SeedLlama
from silmm_plugins.models.seed_llama.options import SeedLlamaOptions

from silmm.registry.registry import Registry
from silmm.testing import Cases, check_registration
from silmm.testing.conformance import BaseModelConformance
from tests.plugins.models.seed_llama.tiny_checkpoint import (
    PROMPTS,
    QUESTIONS,
    UNCLIP,
    read,
    write_unclip,
)


class _SeedLlama(BaseModelConformance):
    @pytest.fixture
    def cases(self):
        """Return prompts of unequal length."""
        return Cases(PROMPTS, QUESTIONS)


@pytest.mark.slow
class TestWritten(_SeedLlama):
    """All checks on a checkpoint of the real classes with random weights."""

    @pytest.fixture
    def make(self, checkpoint):
        """Return what loads the checkpoint."""
        return lambda: read(checkpoint)


@pytest.fixture(scope="module")
def unclip(tmp_path_factory):
    """Return the folder of a decoder of the recorded checkpoint's width."""
    folder = tmp_path_factory.mktemp("unclip") / UNCLIP
    write_unclip(folder, embedding=32)
    return folder


class TestRecorded(_SeedLlama):
    """The recorded checkpoint, with a decoder of its width; it has none of its own."""

    samples = 128

    @pytest.fixture
    def make(self, goldens, unclip):
        """Return what loads the checkpoint."""
        path = goldens / "checkpoints" / "seed-llama"
        options = SeedLlamaOptions(path=str(path), unclip=str(unclip), device="cpu", steps=2)
        return lambda: SeedLlama.load(options)


def test_it_is_what_it_registers_as(model):
    """Kind and capabilities of the registration are those of the loaded model, and options have defaults."""
    entry = Registry.load().entry("model", "seed-llama")
    check_registration(entry, model)
    assert entry.options is SeedLlamaOptions
