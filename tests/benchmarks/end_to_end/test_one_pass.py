"""How often judges look: each image once for all that a judge is asked about it, and never again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from silmm_benchmarks.t2i_compbench.benchmark import T2ICompBench

from silmm.bench.judging import judging_session
from silmm.bench.planning import first_of_each
from tests.benchmarks.end_to_end.conftest import Done, noise

COUNTING = """
from pathlib import Path

import numpy as np

from silmm import hookimpl
from silmm.contracts.options import NoOptions
from silmm.contracts.judges import Detections

CALLS = []
LABELS = ("dog", "cat")


class Counting:
    identity = {"judge": "counting"}
    labels = LABELS

    def _seen(self, method, images, asked=None):
        for place, image in enumerate(images):
            CALLS.append((method, image.tobytes(), len(asked[place]) if asked else 1))

    def p_yes(self, images, questions):
        self._seen("p_yes", images, questions)
        return [np.full(len(texts), 0.5) for texts in questions]

    def similarity(self, images, texts):
        self._seen("similarity", images)
        return np.full(len(texts), 0.3)

    def detect(self, images):
        self._seen("detect", images)
        boxes = np.array([[0, 0, 90, 90], [100, 0, 190, 90]], np.float32)
        return [Detections(LABELS, np.array([0.9, 0.8], np.float32), boxes, (479, 479)) for _ in images]

    def depth(self, images):
        self._seen("depth", images)
        return [np.full((image.height, image.width), 9, np.uint8) for image in images]


def build(options):
    return Counting()


@hookimpl
def silmm_register_judges(register):
    register("counting", build, summary="Counts what it is asked.")
"""
ROLES = ("yes-no", "clip", "detector", "detector-2d", "depth")
METHODS = {
    "yes-no": "p_yes", "clip": "similarity", "detector": "detect", "detector-2d": "detect", "depth": "depth",
}
ASKED = {
    "color": ("yes-no",), "shape": ("yes-no",), "texture": ("yes-no",), "spatial": ("detector-2d",),
    "3d_spatial": ("detector", "depth"), "numeracy": ("detector",), "non_spatial": ("clip",),
}
GROUPS = {
    "spatial": ("yes-no", "detector-2d"), "action": ("yes-no", "clip"),
    "both": ("yes-no", "detector-2d", "clip"),
}


@pytest.fixture
def calls(fake_distribution: Callable[..., Path]) -> list[tuple[str, bytes, int]]:
    """Install a judge for all roles; gives the list of what it was asked."""
    import importlib

    fake_distribution("silmm-counting", {"counting": "silmm_counting"}, {"silmm_counting": COUNTING})
    recorded: list[tuple[str, bytes, int]] = importlib.import_module("silmm_counting").CALLS
    return recorded


def roles_of(item: Any) -> tuple[str, ...]:
    return GROUPS[item.details["group"]] if item.category == "complex" else ASKED[item.category]


def test_each_judge_is_asked_once_about_an_image(
    calls: list[tuple[str, bytes, int]], bench: Callable[..., Done], official_t2i: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All categories, complex in its groups: one call an image and role, one decoding an image.

    All phrases of a prompt are one call. The rules of the other mode take what is stored. With one judge in
    memory at a time each judge has the image decoded, and the result has the same bytes.
    """
    items = first_of_each(T2ICompBench().items(official_t2i / "t2i-compbench"), 24)
    folder, benchmark = tmp_path / "images", T2ICompBench()
    wanted: Counter[tuple[str, bytes]] = Counter()
    for number, item in enumerate(items):
        for index in range(item.images):
            path = benchmark.target(folder, item, index)
            path.parent.mkdir(parents=True, exist_ok=True)
            image = noise(number * 10 + index, side=32)
            image.save(path)
            wanted.update((METHODS[role], image.tobytes()) for role in roles_of(item))
    opened: list[Path] = []
    real = judging_session.ImageReader
    monkeypatch.setattr(judging_session, "ImageReader", lambda path: opened.append(path) or real(path))
    named = [word for role in ROLES for word in ("--judge", f"{role}=counting")]
    common = (
        "t2i-compbench", "--images", folder, "--data-dir", official_t2i, "--limit", 24, "--canaries", "off",
    )
    done = bench(*common, *named)
    assert done.exit_code == 0, done.stderr
    assert all(number.value is not None for number in done.results[0].numbers.values())
    assert {item.details.get("group") for item in items if item.category == "complex"} <= set(GROUPS)
    assert Counter((method, image) for method, image, _ in calls) == wanted
    assert max(wanted.values()) == 1
    assert max(questions for method, _, questions in calls if method == "p_yes") > 1
    images = len({image for _, image in wanted})
    assert len(opened) == images < sum(wanted.values())
    before = len(calls)
    assert bench(*common, *named, "--mode", "fixed").exit_code == 0
    assert (len(calls), len(opened)) == (before, images)
    assert json.loads(done.rows()[0]["answers"])
    alone = bench(*common, *named, "--one-judge", out="alone")
    assert alone.exit_code == 0, alone.stderr
    assert len(opened) == images + sum(wanted.values())
    assert alone.results[0].path.read_bytes() == done.results[0].path.read_bytes()
