"""A pipeline of random weights for all tests, and how they load it."""

from __future__ import annotations

from pathlib import Path

import pytest
from silmm_plugins.models.vlm_diffusion.model import VlmDiffusion
from silmm_plugins.models.vlm_diffusion.options import VlmDiffusionOptions

from tests.plugins.models.vlm_diffusion.tiny_pipeline import write

SMALL = {"device": "cpu", "dtype": "float32", "tokens": 250, "side": 32, "steps": 2, "vqa_max_pixels": 112 * 112}


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> Path:
    """A pipeline of random weights; nobody may change it."""
    return write(tmp_path_factory.mktemp("vlm-diffusion"))


def load(path: Path, **options: object) -> VlmDiffusion:
    """Load a pipeline with small images and few steps unless said otherwise."""
    return VlmDiffusion.load(VlmDiffusionOptions(path=str(path), **{**SMALL, **options}))
