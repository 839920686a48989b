"""Fixtures that the tests of several plugins share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins.models.every_model import EveryModel


@pytest.fixture(scope="session")
def every_model(goldens: Path, tmp_path_factory: pytest.TempPathFactory) -> EveryModel:
    """All base models, loaded by their names; tests must not change their files."""
    return EveryModel.find(goldens, tmp_path_factory.mktemp("models"))
