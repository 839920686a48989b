"""The two checkpoints of these tests: one written here, and the recorded one where it is at hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.plugins.models.emu3.tiny_checkpoint import write


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> Path:
    """A folder with Emu3-Gen, Emu3-Chat and Emu3-Gen-hf of random weights; nobody may change it."""
    return write(tmp_path_factory.mktemp("emu3"))


@pytest.fixture
def own(written: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    return Path(shutil.copytree(written, tmp_path / "copy"))


@pytest.fixture(scope="session")
def golden(goldens: Path) -> Path:
    """The folder of the recorded checkpoints, inputs and numbers."""
    return goldens / "checkpoints" / "emu3"
