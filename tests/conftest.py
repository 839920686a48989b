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

from tests import shape_checking

shape_checking.install()  # before the modules that it checks

from silmm_benchmarks.data.catalogue import CATALOGUE  # noqa: E402

import silmm  # noqa: E402, F401  # before anything imports torchvision (silmm.torchvision_import)
from silmm.storage.user_folders import data_root  # noqa: E402

REPOSITORY = Path(__file__).parent.parent

pytest_plugins = ["tests.toy.fixtures"]

UNPULLED = {
    "dsg": "github.com/j-min/DSG",
    "tifa": "the folder tifa_v1.0_sample of github.com/Yushi-Hu/tifa",
    "t2i-compbench": "the names in detection_features.pt, which `silmm data pull unidet-r50` fetches",
}
"""Where official files come from that no benchmark reads, so that no `silmm data pull` fetches them."""


def pytest_configure() -> None:
    """Let children hear Ctrl-C: a shell's background job, and what it starts, ignores SIGINT."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow tests, and keep tests together that share what their file makes once.

    Of several processes (`--dist loadgroup`) none is left alone with slow tests at the end, and a fixture of a
    module's scope is made in one of them.
    """
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    for item in items:
        fixtures = item._fixtureinfo.name2fixturedefs.values() if isinstance(item, pytest.Function) else ()
        if any(definitions[-1].scope in ("module", "class") for definitions in fixtures):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


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
def goldens() -> Path:
    """Return the folder of outputs that were recorded from official code; tests must not change it."""
    return REPOSITORY / "tests" / "goldens"


class OfficialData:
    """Finds files that benchmarks publish and that are not ours to pass on; skips where they are not here."""

    def __init__(self) -> None:
        beside = Path(os.environ.get("SILMM_SHARED", REPOSITORY.parent / "shared"))
        self._roots = (beside / "data", data_root())

    def __call__(self, path: str) -> Path:
        """Return the file or folder `DATASET[/FILE]`.

        Below $SILMM_SHARED/data it is looked for first, then where `silmm data pull` puts data sets.
        """
        for root in self._roots:
            if (root / path).exists():
                return root / path
        name, _, file = path.partition("/")
        pulled = name in CATALOGUE and not any(mark in file for mark in ("sample", "unidet"))
        way = f"`silmm data pull {name}` fetches it" if pulled else f"it comes from {UNPULLED[name]}"
        pytest.skip(f"{path} is not in {self._roots[1]}: {way}")


@pytest.fixture(scope="session")
def official_data() -> OfficialData:
    """Return a function that finds official prompts, questions and answers of benchmarks."""
    return OfficialData()
