"""A real benchmark to run: images of the shapes world, sampled by its renderer, read by its parser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from silmm_benchmarks.benchmark_options import ShapesOptions
from silmm_benchmarks.shapes.benchmark import Shapes
from silmm_benchmarks.shapes.language import parse_caption
from silmm_benchmarks.shapes.scene_sampling import sample_scene
from silmm_benchmarks.shapes.world import Scene, render

from silmm.bench.bench_request import BenchRequest
from silmm.bench.runner import build_benchmark, run_bench
from silmm.registry.registry import Registry

LIMIT = 8


@pytest.fixture(scope="session")
def registry() -> Registry:
    return Registry.load({"SILMM_LOAD_PLUGINS": "silmm"})


@pytest.fixture
def sample() -> Callable[..., list[Path]]:
    """Sample the first items' images: the scene that the prompt tells, or blank where `wrong` says so."""

    def sampled(folder: Path, *, images: int = 2, wrong: Callable[[int], bool] = lambda _: False) -> list[Path]:
        from silmm.bench.planning import first_of_each

        benchmark = Shapes(ShapesOptions(images=images))
        folder.mkdir(parents=True, exist_ok=True)
        made = []
        for number, item in enumerate(first_of_each(benchmark.items(folder), LIMIT)):
            scene = sample_scene(np.random.default_rng(number), parse_caption(item.prompt))
            for index in range(images):
                shown = Scene(()) if wrong(number) else scene
                path = benchmark.target(folder, item, index)
                Image.fromarray(render(shown)).save(path)
                made.append(path)
        return made

    return sampled


@pytest.fixture
def score(registry: Registry, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run the benchmark on a folder and return the result as it lies on the disk."""
    from silmm.storage.json_files import read_json

    def scored(images: Path, *, n_images: int = 2, **changes: Any) -> dict[str, Any]:
        benchmark = build_benchmark(registry, "shapes", {"images": n_images})
        request = replace(BenchRequest(out=tmp_path / "out", images=images, limit=LIMIT), **changes)
        path = run_bench(
            benchmark, request, registry=registry, progress=lambda *_: None, note=lambda _: None
        )
        return {} if path is None else {**read_json(path), "path": path}

    return scored
