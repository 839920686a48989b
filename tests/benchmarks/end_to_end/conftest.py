"""Whole runs of `silmm bench`: official files as data, tiny weights of the real judges, composed images."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from silmm.bench.leaderboard.results import Result, read_result
from silmm_cli import main
from tests.benchmarks.judges import tiny_models
from tests.benchmarks.judges.unidet import recipe
from tests.conftest import OfficialData

PLUGIN = "tests.benchmarks.end_to_end.small_judges"


@dataclass(frozen=True)
class Done:
    """What one call of the command left."""

    exit_code: int
    stderr: str
    answer: dict[str, Any]

    @property
    def results(self) -> list[Result]:
        """The result files."""
        return [read_result(Path(result["result"])) for result in self.answer["results"]]

    def value(self, column: str) -> float | None:
        """Return a column of the only result."""
        (result,) = self.results
        return result.numbers[column].value

    def rows(self, table: str = "images") -> list[dict[str, Any]]:
        """Return the table of images, or another one, of the only result."""
        (result,) = self.results
        path = result.path.with_name(result.tables[table]["file"])
        return pq.read_table(path).to_pylist()


@pytest.fixture
def plugin(fake_distribution: Callable[..., Path]) -> Path:
    """Install the small judges as a third-party plugin; gives the folder for a child's path."""
    return fake_distribution("small-judges", {"small-judges": PLUGIN})


@pytest.fixture
def bench(plugin: Path, tmp_path: Path) -> Callable[..., Done]:
    """Run `silmm bench score …` in this process."""

    def run(*arguments: object, out: str = "out") -> Done:
        words = ["bench", *map(str, arguments), "--out", str(tmp_path / out), "--json"]
        done = CliRunner().invoke(main, words)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        answer = json.loads(done.stdout) if done.stdout.strip() else {}
        return Done(done.exit_code, done.stderr, answer)

    return run


def noise(seed: int, side: int = 64) -> Image.Image:
    """Return an image of coloured blocks that belongs to a number."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


@pytest.fixture(scope="session")
def weights(goldens: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with a tiny judge for each role but the detectors, by the name of the official judge."""
    root = tmp_path_factory.mktemp("judges")
    tiny_models.recorded_blip(goldens, root / "blip-vqa")
    shutil.copytree(goldens / "checkpoints" / "mplug" / "original", root / "mplug")
    tiny_models.dpt(root / "dpt")
    tiny_models.mpnet(root / "mpnet")
    return root


@pytest.fixture(scope="session")
def detectors(official_data: OfficialData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with two tiny detectors that have the official labels."""
    unidet = tmp_path_factory.mktemp("unidet")
    r50 = recipe.network(recipe.TINY_R50, stem_gain=0.02, cls_gain=0.6, cls_bias=-12.5)
    rs50 = recipe.network(recipe.TINY_RS50, stem_gain=1.0, cls_gain=2.0, cls_bias=-12.5)
    torch.save({"model": r50.state_dict()}, unidet / "r50.pth")
    torch.save({"model": rs50.state_dict()}, unidet / "rs50.pth")
    shutil.copyfile(official_data("t2i-compbench/unidet_labels_722.json"), unidet / "labels.json")
    return unidet


@pytest.fixture(scope="session")
def t2i_judges(weights: Path, detectors: Path) -> Sequence[str]:
    """Name a tiny judge for each role of T2I-CompBench++."""
    named = {
        "yes-no": f"blip-vqa:{weights / 'blip-vqa'}", "clip": "tiny-clip",
        "depth": f"dpt-hybrid:{weights / 'dpt'}",
        "detector": f"tiny-r50:{detectors}", "detector-2d": f"tiny-rs50:{detectors}",
    }
    return [word for role, name in named.items() for word in ("--judge", f"{role}={name}")]


@pytest.fixture(scope="session")
def official_t2i(official_data: OfficialData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a data folder with the official prompt files, as `silmm data pull` leaves it."""
    root = tmp_path_factory.mktemp("data")
    (root / "t2i-compbench").mkdir()
    for path in official_data("t2i-compbench").glob("*.txt"):
        shutil.copyfile(path, root / "t2i-compbench" / path.name)
    return root
