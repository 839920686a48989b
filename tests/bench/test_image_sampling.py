"""Generated images: each from its own seed, sampled once, never mixed with another generator's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from silmm_benchmarks.benchmark_options import ShapesOptions
from silmm_benchmarks.shapes.benchmark import Shapes
from silmm_benchmarks.shapes.language import parse_caption
from silmm_benchmarks.shapes.scene_sampling import sample_scene
from silmm_benchmarks.shapes.world import render

from silmm.bench.image_generation import IMAGES, failures_by_item, read_record, sample_images
from silmm.contracts.generators import GenerationFailure
from silmm.errors import PluginError, SettingsChanged


class Renderer:
    """A generator that samples what the caption says with the world's own renderer."""

    def __init__(self, refuse: Callable[[str], GenerationFailure | None] = lambda _: None, **extra: Any):
        self.identity = {"model": "renderer", "steps": 1, **extra}
        self.batch_size = 3
        self.asked: list[tuple[str, int]] = []
        self._refuse = refuse

    def announce(self, images: int) -> str:
        return f"{images} images"

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Any]:
        self.asked += list(zip(prompts, seeds, strict=True))
        return [self._refuse(prompt) or self._one(prompt, seed)
                for prompt, seed in zip(prompts, seeds, strict=True)]

    def _one(self, prompt: str, seed: int) -> Image.Image:
        return Image.fromarray(render(sample_scene(np.random.default_rng(seed), parse_caption(prompt))))


class Pairs(Shapes):
    """Two images of a prompt side by side in one file, as DPG-Bench keeps four."""

    def target(self, folder, item, index):
        return folder / f"{item.id}.png"

    def join(self, images):
        left, right = images
        both = Image.new("RGB", (left.width * 2, left.height))
        both.paste(left, (0, 0))
        both.paste(right, (left.width, 0))
        return both


@pytest.fixture
def go(tmp_path):
    def sampled(generator, *, benchmark=None, spec="renderer", home="home", options=None):
        benchmark = benchmark or Shapes(ShapesOptions(images=2))
        notes: list[str] = []
        record = sample_images(
            benchmark, benchmark.items(tmp_path)[:4], tmp_path / home, spec=spec,
            options=options or {},
            open_generator=lambda: generator, progress=lambda *_: None, note=notes.append,
        )
        return record, notes

    return sampled


def images_of(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (home / IMAGES).iterdir()}


def test_each_image_has_the_seed_of_the_benchmarks_rule(go, tmp_path):
    """The generator gets each item's prompt and the benchmark's own seed, once."""
    generator, benchmark = Renderer(), Shapes(ShapesOptions(images=2))
    record, notes = go(generator)
    items = benchmark.items(tmp_path)[:4]
    assert generator.asked == [
        (item.prompt, benchmark.seed(item, index)) for item in items for index in (0, 1)
    ]
    assert record["identity"]["model"] == "renderer"
    assert notes == ["8 images"]
    assert read_record(tmp_path / "home") == record


def test_only_what_is_missing_is_sampled_again(go, tmp_path):
    """After a kill the same images come to lie there, and the others are not sampled twice."""
    go(Renderer())
    before = images_of(tmp_path / "home")
    gone = sorted((tmp_path / "home" / IMAGES).iterdir())[5]
    gone.unlink()
    generator = Renderer()
    go(generator)
    assert images_of(tmp_path / "home") == before
    assert len(generator.asked) == 1


def test_with_all_images_there_the_generator_is_not_opened(go, tmp_path):
    """Judging on a machine without the model works: its record is enough."""
    record, _ = go(Renderer())
    assert go(None)[0] == record


@pytest.mark.parametrize("whole", [True, False])
def test_another_generator_or_other_settings_are_refused(go, tmp_path, whole):
    """Images of two generators never lie in one folder; the message says what differs."""
    go(Renderer())
    if not whole:
        next((tmp_path / "home" / IMAGES).iterdir()).unlink()
    with pytest.raises(SettingsChanged, match=r"steps: 1 there, 2 now; options\.steps: None there, '2' now"):
        go(Renderer(steps=2), options={"steps": "2"})


def test_the_identity_decides_and_not_where_or_how_many_at_once(go, tmp_path):
    """Another device, batch size or number of requests, or another name of the same weights, goes on."""
    record, _ = go(Renderer(), options={"device": "cpu", "batch_size": 4, "concurrency": 4})
    others = {"device": "cuda", "batch_size": 1, "concurrency": 9}
    assert go(None, options=others)[0] == record
    next((tmp_path / "home" / IMAGES).iterdir()).unlink()
    moved = Renderer()
    assert go(moved, spec="renderer:/elsewhere", options=others)[0] == record
    assert len(moved.asked) == 1


def test_images_of_one_file_are_joined_in_order(go, tmp_path):
    """All images of a target are sampled, then stored as the one file that the benchmark makes of them."""
    benchmark = Pairs(ShapesOptions(images=2))
    go(Renderer(), benchmark=benchmark, home="joined")
    go(Renderer(), home="single")
    for item in benchmark.items(tmp_path)[:4]:
        joined = np.asarray(Image.open(tmp_path / "joined" / IMAGES / f"{item.id}.png"))
        single = tmp_path / "single" / IMAGES
        singles = [np.asarray(Image.open(single / f"{item.id}_{index}.png")) for index in (0, 1)]
        assert np.array_equal(joined, np.concatenate(singles, axis=1))


def test_a_generator_that_stops_midway_is_told_and_goes_on(go, tmp_path):
    """What it raises is told with the prompts; what was sampled before stays, and only the rest is sampled."""
    whole = Renderer()
    go(whole, home="whole")
    tired = Renderer(refuse=lambda _: {}["memory"] if len(tired.asked) > 3 else None)
    with pytest.raises(PluginError, match=r"stopped over 3 images from \w+-\w+, image 1 on: KeyError"):
        go(tired)
    assert len(images_of(tmp_path / "home")) == 3
    rested = Renderer()
    go(rested)
    assert len(rested.asked) == 5
    assert images_of(tmp_path / "home") == images_of(tmp_path / "whole")


@pytest.mark.parametrize("final", [True, False])
def test_refused_prompts_are_recorded_and_asked_again_only_if_that_may_help(go, tmp_path, final):
    """A final failure is kept with its reason; a passing one is tried again by the next run."""
    prompt = Shapes().items(tmp_path)[1].prompt
    failure = GenerationFailure("refused", "not allowed", final=final)
    _, notes = go(Renderer(refuse=lambda text: failure if text == prompt else None))
    assert sum("refused: not allowed" in note for note in notes) == 2
    assert len(images_of(tmp_path / "home")) == 6
    told = failures_by_item(tmp_path / "home")
    assert list(told.values()) == (["refused: not allowed"] if final else [])
    generator = Renderer()
    go(generator)
    assert len(generator.asked) == (0 if final else 2)
