"""T2I-CompBench++ whole: the eight official prompt files, five judges of the real classes, all columns."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from PIL import Image
from silmm_benchmarks.judges.options import BlipVqaOptions
from silmm_benchmarks.judges.vqa.blip_vqa import BlipVqa
from silmm_benchmarks.t2i_compbench.benchmark import T2ICompBench
from silmm_benchmarks.t2i_compbench.rules.three_in_one import PARTS

from silmm.bench import planning
from silmm.bench.judging.judge_pool import JudgePool
from silmm.bench.planning import first_of_each
from tests.benchmarks.end_to_end.conftest import Done, noise

LIMIT = 16
PAPER = ["Color", "Shape", "Texture", "2D-Spatial", "3D-Spatial", "Numeracy", "Non-Spatial", "Complex",
         "Attribute", "Layout"]
ROLES = {
    "color": {"yes-no"}, "shape": {"yes-no"}, "texture": {"yes-no"}, "spatial": {"detector-2d"},
    "3d_spatial": {"detector", "depth"}, "numeracy": {"detector"}, "non_spatial": {"clip"},
}
ROLE_OF_PART = {"attribute": "yes-no", "spatial": "detector-2d", "clip": "clip"}


def first_items(official_t2i: Path) -> list[Any]:
    return first_of_each(T2ICompBench().items(official_t2i / "t2i-compbench"), LIMIT)


@pytest.fixture(scope="session")
def images(official_t2i: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sample an image for each of the first prompts, ten times each, where they belong."""
    folder, benchmark = tmp_path_factory.mktemp("t2i"), T2ICompBench()
    for number, item in enumerate(first_items(official_t2i)):
        for index in range(item.images):
            path = benchmark.target(folder, item, index)
            path.parent.mkdir(parents=True, exist_ok=True)
            noise(number).save(path)
    return folder


@pytest.fixture
def score(
    bench: Callable[..., Done], official_t2i: Path, t2i_judges: Sequence[str], images: Path
) -> Callable[..., Done]:
    """Score the images with the tiny judges."""

    def run(*more: object, out: str = "out") -> Done:
        return bench(
            "t2i-compbench", "--images", images, "--data-dir", official_t2i, "--canaries", "warn",
            *t2i_judges, *more, out=out,
        )

    return run


@pytest.fixture
def most_open(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note how many judges are alive each time that one has been opened."""
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    counts: list[int] = []
    real = JudgePool.handle

    def counted(self: JudgePool, key: str, build: Callable[[], Any]) -> Any:
        def noted() -> Any:
            gc.collect()
            counts.append(len(alive) + 1)
            judge = build()
            alive.add(judge)
            return judge

        return real(self, key, noted)

    monkeypatch.setattr(JudgePool, "handle", counted)
    return counts


@pytest.mark.slow
def test_all_columns_come_out(
    score: Callable[..., Done], official_t2i: Path, weights: Path, images: Path, most_open: list[int]
) -> None:
    """Eight categories, Attribute and Layout have numbers with n and intervals; one judge is open if asked.

    The repaired rules are applied to the same answers, with no judge asked again.
    """
    done = score("--limit", LIMIT, "--one-judge")
    assert done.exit_code == 0, done.stderr
    assert (len(most_open), max(most_open)) == (10, 1)  # each once for its identity, then for the questions
    most_open.clear()
    (result,) = done.results
    assert list(result.numbers) == PAPER
    for name, number in result.numbers.items():
        assert number.value is not None, name
        assert number.low is not None
        assert number.high is not None
        assert number.low <= number.value + 1e-12
        assert number.value <= number.high + 1e-12
        assert (number.prompts, number.images) == ((6, 60) if name in ("Attribute", "Layout") else (2, 20))
    value = {name: number.value for name, number in result.numbers.items()}
    assert value["Attribute"] == pytest.approx(fmean(value[name] for name in PAPER[:3]))
    assert value["Layout"] == pytest.approx(fmean(value[name] for name in PAPER[3:6]))
    assert result.marks == (f"subset: {LIMIT} prompts (--limit {LIMIT})",)
    rows = done.rows()
    assert len(rows) == 10 * LIMIT
    for row in rows:
        check_parts(row)
    direct_answers(rows, official_t2i, weights, images)
    before = stored(done)
    fixed = score("--limit", LIMIT, "--mode", "fixed")
    assert (fixed.exit_code, stored(fixed)) == (0, before)
    assert (len(most_open), max(most_open)) == (5, 5)
    assert fixed.results[0].mode == "fixed"
    assert fixed.results[0].path != result.path


def check_parts(row: Mapping[str, Any]) -> None:
    """Only the roles that a category needs were asked; a complex score is the mean of its group's parts."""
    numbers, roles = json.loads(row["scores"]), set(json.loads(row["answers"]))
    if row["category"] != "complex":
        assert roles == ROLES[row["category"]]
        return
    parts = tuple(name for name in ("attribute", "spatial", "clip") if name in numbers)
    assert parts in PARTS.values()
    assert roles == {ROLE_OF_PART[part] for part in parts}
    assert numbers["score"] == pytest.approx(fmean(numbers[part] for part in parts))


def direct_answers(rows: Sequence[Mapping[str, Any]], data: Path, weights: Path, images: Path) -> None:
    """The stored P(yes) are what BLIP-VQA says when it is asked directly about these files."""
    judge = BlipVqa.load(BlipVqaOptions(weights=str(weights / "blip-vqa"), device="cpu"))
    questions = {item.id: item.details.get("questions") for item in first_items(data)}
    for row in [item for item in rows if item["category"] in ("texture", "complex")][::10]:
        with Image.open(images / row["path"]) as image:
            (direct,) = judge.p_yes([image.convert("RGB")], [questions[row["item"]]])
        assert json.loads(row["answers"])["yes-no"] == pytest.approx(direct.tolist(), abs=1e-6)


def stored(done: Done) -> set[str]:
    return {str(path) for path in Path(done.answer["out"]).rglob("part-*.jsonl")}


def test_shards_on_one_folder_make_the_whole_result(
    score: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two shards of a limited run end with the bytes of one run; the first waits with exit code 75."""
    monkeypatch.setattr(planning, "BLOCK", 16)  # two blocks of two prompts
    limited = ("--limit", "4", "--categories", "non_spatial,color")
    whole = score(*limited, out="whole").results[0].path
    first = score(*limited, "--shard", "0/2", out="shards")
    assert (first.exit_code, first.answer["results"]) == (75, [])
    last = score(*limited, "--shard", "1/2", out="shards").results[0].path
    assert last.read_bytes() == whole.read_bytes()
    assert not list(last.parent.rglob("problems*"))  # images of prompts that are left out are not extra
