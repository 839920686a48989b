"""What the tests of judges share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.benchmarks.judges import tiny_detectors, tiny_models


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make a model by its name in `tiny_models` or `tiny_detectors`, once; not to be changed."""
    root = tmp_path_factory.mktemp("tiny")
    made: dict[str, Path] = {}

    def make(name: str, *arguments: int) -> Path:
        key = "-".join([name, *map(str, arguments)])
        if key not in made:
            module = tiny_models if hasattr(tiny_models, name) else tiny_detectors
            made[key] = getattr(module, name)(root / key, *arguments)
        return made[key]

    return make


@pytest.fixture
def images() -> list[Image.Image]:
    """Three noise images of unequal sizes."""
    return tiny_models.images()
