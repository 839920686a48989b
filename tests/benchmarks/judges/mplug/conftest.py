"""What the tests of mPLUG share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks.judges.mplug import tiny


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small folder in the published layout; not to be changed."""
    return tiny.write_folder(tmp_path_factory.mktemp("mplug") / "folder")


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write a folder of one's own: other sizes, another seed, free to be damaged."""
    return lambda name="own", **changes: tiny.write_folder(tmp_path / name, **changes)
