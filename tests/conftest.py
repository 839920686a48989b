"""Fixtures that several test folders share."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

import silmm  # noqa: F401  # before anything imports torchvision (silmm.torchvision_import)

REPOSITORY = Path(__file__).parent.parent

pytest_plugins = ["tests.toy.fixtures"]


def pytest_configure() -> None:
    """Let children hear Ctrl-C: a shell's background job, and what it starts, ignores SIGINT."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow tests, so that no process of several is left alone with them at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests, and what they start, out of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SILMM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def fake_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Path]]:
    """Make installed distributions: modules, and dist-info folders with entry points, on sys.path.

    Call it with a name, ``entry_points={"name": "module"}`` and ``modules={"module": "source"}``;
    it returns the folder, which a subprocess can take into PYTHONPATH.
    """
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    made: list[str] = []

    def make(
        name: str,
        entry_points: Mapping[str, str],
        modules: Mapping[str, str] | None = None,
        version: str = "1.0",
    ) -> Path:
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = [f"{key} = {value}" for key, value in entry_points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[silmm]", *lines, ""]))
        for module, source in (modules or {}).items():
            (site / f"{module}.py").write_text(textwrap.dedent(source))
            made.append(module)
        importlib.invalidate_caches()
        return site

    yield make
    for module in made:
        sys.modules.pop(module, None)


@pytest.fixture
def silmm_process() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python in a process of its own, with this source tree (and `site`) on its path."""

    def run(
        *arguments: str, site: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        places = [REPOSITORY, REPOSITORY / "plugins", REPOSITORY / "benchmarks"]
        path = os.pathsep.join(str(place) for place in ([site] if site else []) + places)
        return subprocess.run(
            [sys.executable, *arguments],
            env=os.environ | {"PYTHONPATH": path} | dict(env or {}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def shared() -> Path:
    """Give the folder of official data and recorded outputs; tests that need it are skipped elsewhere."""
    folder = Path(os.environ.get("SILMM_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no recorded official outputs at {folder}; SILMM_SHARED names them")
    return folder
