"""The tutorial: every block of the page runs and prints what the page shows, and the notebook is the same page."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
TOLERANCE = 0.1
"""Of a printed number: another processor rounds a training otherwise."""


@pytest.fixture(scope="module")
def tutorial() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_tutorial", DOCS / "make_tutorial.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def alike(shown: str, printed: str) -> bool:
    """Say whether two outputs have the same words and nearly the same numbers; tables, the same words."""
    if NUMBER.sub("0", shown) != NUMBER.sub("0", printed):
        return False
    pairs = [
        (float(a), float(b))
        for old, new in zip(shown.splitlines(), printed.splitlines(), strict=True) if not old.startswith("|")
        for a, b in zip(NUMBER.findall(old), NUMBER.findall(new), strict=True)
    ]
    return all(abs(a - b) <= TOLERANCE for a, b in pairs)


def test_the_pages_blocks_print_what_it_shows(tutorial, tmp_path, monkeypatch):
    """Copied from the page and run in order, each block prints the output behind it."""
    monkeypatch.chdir(tmp_path)
    blocks = tutorial.blocks(tutorial.PAGE.read_text("utf-8"))
    assert len(blocks) > 12
    for (source, shown), printed in zip(blocks, tutorial.run_blocks([code for code, _ in blocks]), strict=True):
        assert alike(shown, printed), f"{source}\nprinted:\n{printed}\nrun: python docs/make_tutorial.py"
    assert (tmp_path / "images.png").read_bytes()[:4] == tutorial.IMAGE.read_bytes()[:4]


def test_an_output_that_changed_is_noticed():
    """The check above knows another word, another number and a missing line; it forgives a last digit."""
    assert alike("a 0.50", "a 0.51")
    assert alike("| a | 10 |", "| a | 90 |")
    assert not alike("a 0.50", "a 0.90")
    assert not alike("a 0.50", "b 0.50")
    assert not alike("a\nb", "a")


def test_the_notebook_is_the_page(tutorial):
    """examples/tutorial.ipynb is what its script makes of the page, and valid."""
    nbformat = pytest.importorskip("nbformat")
    stored = json.loads(tutorial.NOTEBOOK.read_text("utf-8"))
    assert stored == tutorial.notebook(tutorial.PAGE.read_text("utf-8")), "run: python docs/make_tutorial.py"
    nbformat.validate(stored)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")  # of the notebook's machinery
def test_the_notebook_runs(tutorial, tmp_path):
    """In a kernel of its own every cell of the notebook runs."""
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(tutorial.NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    assert (tmp_path / "my-run" / "iter-1" / "adapter" / "adapter_model.safetensors").is_file()
