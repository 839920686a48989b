"""Fixtures: a tiny checkpoint of the real classes in a folder."""

from pathlib import Path

import pytest
from silmm_plugins.models.seed_llama.model import SeedLlama

from tests.plugins.models.seed_llama import tiny_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with all parts; tests that change it work on a copy."""
    return tiny_checkpoint.write(tmp_path_factory.mktemp("seed") / "tiny")


@pytest.fixture(scope="session")
def model(checkpoint: Path) -> SeedLlama:
    """Return the loaded checkpoint."""
    return tiny_checkpoint.read(checkpoint)
