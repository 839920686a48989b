"""torchvision can be imported beside a torch whose build does not fit its compiled operators."""

from __future__ import annotations

from pathlib import Path

import pytest

PACKAGE = {
    "__init__.py": "import torch\ntorch.ops.torchvision.nms\nloaded = True\n",
    "_C.so": "no library",
}


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Return a site folder with a torchvision whose library cannot be loaded; its import needs `nms`."""
    folder = tmp_path / "torchvision"
    folder.mkdir()
    for name, text in PACKAGE.items():
        (folder / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_a_library_that_does_not_fit_is_declared(foreign, silmm_process):
    """With silmm imported first, the import finds the operators declared; without it, it fails."""
    code = "import torchvision; assert torchvision.loaded"
    alone = silmm_process("-c", code, site=foreign)
    assert alone.returncode == 1
    assert "nms" in alone.stderr
    actual = silmm_process("-W", "error", "-c", f"import silmm; {code}", site=foreign)
    assert actual.returncode == 0, actual.stderr


def test_asking_for_torchvision_imports_nothing(silmm_process):
    """Looking whether torchvision is installed, as transformers does, loads neither it nor torch."""
    code = (
        "import importlib.util, sys, silmm; found = importlib.util.find_spec('torchvision'); "
        "assert 'torch' not in sys.modules, 'torch'; assert 'torchvision' not in sys.modules"
    )
    done = silmm_process("-c", code)
    assert done.returncode == 0, done.stderr


def test_the_real_torchvision_is_imported_with_its_resources(silmm_process):
    """The installed torchvision imports, and its loader still answers what loaders are asked."""
    pytest.importorskip("torchvision")
    code = (
        "import silmm, torchvision, torchvision.transforms; "
        "assert torchvision.__spec__.loader.is_package('torchvision'); "
        "import importlib.resources; assert importlib.resources.files('torchvision').is_dir()"
    )
    done = silmm_process("-W", "error", "-c", code)
    assert done.returncode == 0, done.stderr
