"""The two checkpoints of these tests: one written here, and the recorded one where it is at hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from silmm_plugins.models.dreamllm.model import DreamLlm
from silmm_plugins.models.dreamllm.options import DreamLlmOptions

from tests.plugins.models.dreamllm.tiny_checkpoint import write


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> Path:
    """A checkpoint of random weights; nobody may change it."""
    return write(tmp_path_factory.mktemp("dreamllm"))


@pytest.fixture
def own(written: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    shutil.copytree(written.parent, tmp_path / "copy")
    return tmp_path / "copy" / written.name


@pytest.fixture(scope="session")
def golden(goldens: Path) -> Path:
    """The folder of the recorded checkpoint, inputs and numbers."""
    return goldens / "checkpoints" / "dreamllm"


def load(path: Path, **options: object) -> DreamLlm:
    """Load a checkpoint; few denoising steps unless said otherwise."""
    return DreamLlm.load(DreamLlmOptions(path=str(path), **{"steps": 3, "device": "cpu", **options}))
