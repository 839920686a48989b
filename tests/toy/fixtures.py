"""Fixtures with the toy plugin package and quick runs with it; the root conftest loads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import silmm.engine.run
from silmm.engine.run import RunResult
from silmm.engine.settings import RunSettings
from silmm.engine.settings_resolution import resolve_settings
from silmm.registry.registry import Registry
from tests.toy import plugin

_KINDS = (
    "model", "prompter", "sampler", "questioner", "scorer", "pair_rule", "trainer", "benchmark",
)


def toy_run_settings(registry: Registry, **changes: Any) -> RunSettings:
    """Return settings of a toy run: 7 prompts in 3 shards, 4 images each."""
    sets = changes.pop("sets", ())
    sizes = {"prompts": 7, "images_per_prompt": 4, "shard_size": 3}
    flags = dict.fromkeys(_KINDS, "toy") | sizes | changes
    return resolve_settings(registry, flags=flags, sets=sets)


@pytest.fixture(scope="session")
def toy_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the installed distribution silmm-toy."""
    site = tmp_path_factory.mktemp("site")
    plugin.install(site)
    return site


@pytest.fixture
def toy_registry(toy_site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """Return a registry with the toy package alone, for this process and the workers it starts."""
    monkeypatch.syspath_prepend(str(toy_site))
    monkeypatch.setenv("SILMM_LOAD_PLUGINS", "silmm-toy")
    yield Registry.load()


@pytest.fixture
def toy_settings(toy_registry: Registry) -> Callable[..., RunSettings]:
    """Return a maker of settings for a toy run."""

    def make(**changes: Any) -> RunSettings:
        return toy_run_settings(toy_registry, **changes)

    return make


@pytest.fixture
def run_toy(
    toy_registry: Registry, toy_settings: Callable[..., RunSettings]
) -> Callable[..., RunResult]:
    """Return a function that starts (or goes on with) a toy run in a directory."""

    def start(run_dir: Path, settings: RunSettings | None = None, **arguments: Any) -> RunResult:
        chosen = settings or toy_settings()
        return silmm.engine.run.start(chosen, run_dir, registry=toy_registry, **arguments)

    return start


@pytest.fixture(scope="session")
def whole_run(toy_site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of one uninterrupted toy run of the default toy settings."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(toy_site))
        patch.setenv("SILMM_LOAD_PLUGINS", "silmm-toy")
        registry = Registry.load()
        silmm.engine.run.start(toy_run_settings(registry), run_dir, registry=registry)
    return run_dir
