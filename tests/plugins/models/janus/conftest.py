"""Checkpoints of Janus for its tests: one with random weights, and the recorded ones where they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from silmm_plugins.models.janus.model import Janus
from silmm_plugins.models.janus.options import JanusOptions

from benchmarks.perf import janus_random


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A checkpoint in the transformers layout with random weights; tests must not change it."""
    return janus_random.write(tmp_path_factory.mktemp("janus"))


@pytest.fixture(scope="session")
def load():
    """Load a folder as a base model; options of :class:`JanusOptions` may follow."""

    def open_model(folder: Path, **options) -> Janus:
        return Janus.load(JanusOptions(path=str(folder), **{"device": "cpu", **options}))

    return open_model


@pytest.fixture(scope="session")
def recorded(goldens) -> Path:
    """The folder of recorded inputs and outputs of the original code."""
    return goldens / "checkpoints" / "janus"
