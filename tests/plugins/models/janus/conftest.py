"""Checkpoints of Janus for its tests: one with random weights, and the recorded ones where they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from silmm_plugins.models.janus.checkpoint import open_checkpoint
from silmm_plugins.models.janus.model import Janus

from benchmarks.perf import janus_random


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A checkpoint in the transformers layout with random weights; tests must not change it."""
    return janus_random.write(tmp_path_factory.mktemp("janus"))


@pytest.fixture(scope="session")
def load():
    """Load a folder as a base model; options of :class:`Janus` may follow."""

    def open_model(folder: Path, dtype: str = "auto", **options) -> Janus:
        checkpoint = open_checkpoint(str(folder), dtype=dtype, revision=None)
        return Janus(checkpoint, **options)

    return open_model


@pytest.fixture(scope="session")
def recorded(shared) -> Path:
    """The folder of recorded inputs and outputs of the original code."""
    return shared / "goldens" / "checkpoints" / "janus"
