"""What a benchmark run promises: nothing silent, nothing asked twice, the same result after any kill."""

from __future__ import annotations

import itertools
import json
import os
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from silmm_benchmarks.benchmark_options import ShapesOptions
from silmm_benchmarks.shapes.benchmark import Shapes
from silmm_benchmarks.shapes.shapes_judge import ShapesJudge

from silmm.bench import planning
from silmm.bench.bench_request import BenchRequest
from silmm.bench.image_checking import HARMLESS
from silmm.bench.runner import build_benchmark, run_bench
from silmm.errors import DataError, Incomplete, PluginError, UsageError
from tests.toy import artefacts


@pytest.fixture
def asked(monkeypatch):
    """Count the images and questions that the judge really sees."""
    seen = []
    real = ShapesJudge.yes_no

    def counted(self, images, questions):
        seen.append((len(images), sum(map(len, questions))))
        return real(self, images, questions)

    monkeypatch.setattr(ShapesJudge, "yes_no", counted)
    return seen


def value(result, column="Overall"):
    return next(one["value"] for one in result["columns"] if one["name"] == column)


def test_right_images_score_1_and_blank_ones_0(sample, score, tmp_path):
    """The number is the mean over prompts of what the exact judge reads; n stands beside it."""
    sample(tmp_path / "right")
    sample(tmp_path / "half", wrong=lambda number: number % 2 == 1)
    assert value(score(tmp_path / "right")) == 1.0
    result = score(tmp_path / "half", out=tmp_path / "other")
    assert value(result) == 0.5
    overall = next(one for one in result["columns"] if one["name"] == "Overall")
    assert (overall["prompts"], overall["images"]) == (8, 16)
    assert 0 <= overall["low"] < 0.5 < overall["high"] <= 1


def test_nothing_is_asked_twice(sample, score, tmp_path, asked):
    """A second run, another mode and equal images under other names ask the judge nothing."""
    sample(tmp_path / "images")
    score(tmp_path / "images")
    assert sum(images for images, _ in asked) == 8  # two equal images a prompt are one by content
    asked.clear()
    again, fixed = score(tmp_path / "images"), score(tmp_path / "images", mode="fixed")
    assert asked == []
    assert value(again) == value(fixed) == 1.0
    assert (again["card"]["scoring"]["mode"], fixed["card"]["scoring"]["mode"]) == ("official", "fixed")


def test_what_is_answered_is_no_progress(sample, registry, tmp_path):
    """A resumed run starts where it was: answers that are there are not counted as work of this run."""
    sample(tmp_path / "images")
    benchmark = build_benchmark(registry, "shapes", {"images": 2})
    told = []
    for _ in range(2):
        told.append([])
        run_bench(
            benchmark, BenchRequest(out=tmp_path / "out", images=tmp_path / "images", limit=8), registry=registry,
            progress=lambda *step: told[-1].append(step), note=lambda _: None,
        )
    first, second = ([done for stage, done, _ in steps if "yes-no" in stage] for steps in told)
    assert (first[0], first[-1]) == (0, 16)
    assert second == [16]


def test_a_changed_image_is_judged_again_alone(sample, score, tmp_path, asked):
    """Content decides: the one new image is asked about, and the number follows it."""
    first, *_ = sample(tmp_path / "images")
    score(tmp_path / "images")
    asked.clear()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(first)
    assert value(score(tmp_path / "images")) < 1.0
    assert [images for images, _ in asked] == [1]


@pytest.mark.parametrize(("break_it", "told"), [
    (lambda path: path.unlink(), "1 missing"),
    (lambda path: path.write_bytes(path.read_bytes()[:40]), "1 unreadable"),
    (lambda path: path.write_bytes(b"no image"), "1 unreadable"),
], ids=["missing", "cut off", "no image"])
def test_a_bad_image_is_named_and_nothing_scored(sample, score, tmp_path, break_it, told):
    """A missing or unreadable image stops the run by name; allowed, it marks the result partial."""
    bad = sample(tmp_path / "images")[3]
    break_it(bad)
    with pytest.raises(DataError, match=told) as caught:
        score(tmp_path / "images")
    assert bad.name in str(caught.value)
    assert not list((tmp_path / "out").glob("*.json"))
    assert bad.name in (tmp_path / "out" / "shapes" / "problems.tsv").read_text()
    result = score(tmp_path / "images", allow_missing=True)
    assert result["path"].name == "shapes.official.limit-8.partial.json"
    assert any(mark.startswith(f"partial: {told}") for mark in result["marks"])
    assert result["counts"]["images_counted"] == 15


@pytest.mark.parametrize("changes", [{}, {"limit": 3}, {"shard": (0, 2)}], ids=["all", "limit", "shard"])
def test_extra_files_are_listed_and_not_judged(sample, score, tmp_path, changes):
    """A stray file alone is listed, also where a subset leaves images of other prompts aside."""
    sample(tmp_path / "images")
    (tmp_path / "images" / "stray.txt").write_text("x")
    with suppress(Incomplete):
        result = score(tmp_path / "images", **changes)
        assert result["counts"]["problems"] == {HARMLESS: 1}
        assert not any(mark.startswith("partial") for mark in result["marks"])
    (listed,) = (tmp_path / "out" / "shapes").glob("problems*.tsv")
    assert [line.split("\t")[:2] for line in listed.read_text().splitlines()] == [[HARMLESS, "stray.txt"]]


def test_answers_that_are_not_finite_never_count(sample, score, tmp_path, monkeypatch):
    """A NaN of the judge stops the run by image; allowed, the image is left out and counted."""
    real = ShapesJudge.yes_no

    def sick(self, images, questions):
        answers = real(self, images, questions)
        if len(images) > 1:
            answers[0][0] = np.nan  # both probabilities
        return answers

    monkeypatch.setattr(ShapesJudge, "yes_no", sick)
    sample(tmp_path / "images")
    with pytest.raises(DataError, match="yes-no: not finite: nan"):
        score(tmp_path / "images")
    result = score(tmp_path / "images", allow_missing=True)
    assert value(result) == 1.0
    assert result["counts"]["failed"] == {"yes-no: not finite: nan": 2}
    assert result["counts"]["images_counted"] == 14
    assert any("cannot be used" in mark for mark in result["marks"])


def test_a_judge_that_stops_midway_is_named_and_goes_on(sample, score, tmp_path, monkeypatch):
    """What a judge raises is told with its images; the same command then asks the rest alone."""
    monkeypatch.setattr("silmm.bench.planning.BLOCK", 4)
    sample(tmp_path / "images", wrong=lambda number: number % 2 == 1)
    whole = score(tmp_path / "images", out=tmp_path / "whole")["path"]
    real, calls = ShapesJudge.yes_no, []

    def tired(self, images, questions):
        calls.append(len(images))
        if len(calls) == 3:
            raise RuntimeError("out of memory")
        return real(self, images, questions)

    monkeypatch.setattr(ShapesJudge, "yes_no", tired)
    with pytest.raises(PluginError, match=r"'shapes-parser' \(yes-no\) stopped over \d images from \w+-"):
        score(tmp_path / "images")
    assert score(tmp_path / "images")["path"].read_bytes() == whole.read_bytes()
    assert len(calls) == 5  # four blocks, one of them twice


@pytest.mark.parametrize("one_judge", [True, False])
def test_a_judge_that_cannot_start_is_named(sample, score, tmp_path, monkeypatch, one_judge):
    """What it raises before the first image is told with its role, and how less memory is needed."""
    def full(self):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(ShapesJudge, "canaries", full)
    sample(tmp_path / "images")
    with pytest.raises(PluginError, match=r"yes-no \(shapes-parser\): it stopped .*CUDA out") as caught:
        score(tmp_path / "images", one_judge=one_judge)
    assert ("add --one-judge" in str(caught.value)) is not one_judge


def test_a_image_that_changes_while_it_is_judged_is_noticed(sample, score, tmp_path, monkeypatch):
    """No answer is stored for a content that the judge has not seen; the same command goes on."""
    monkeypatch.setattr("silmm.bench.planning.BLOCK", 4)
    *_, last, _ = sample(tmp_path / "images")  # the last two are equal, and the first of equals is opened
    real = ShapesJudge.yes_no

    def slow(self, images, questions):
        Image.new("RGB", (32, 32), "white").save(last)
        return real(self, images, questions)

    monkeypatch.setattr(ShapesJudge, "yes_no", slow)
    with pytest.raises(DataError, match=rf"{last.name} changed while images were judged"):
        score(tmp_path / "images", canaries="off")
    assert value(score(tmp_path / "images", canaries="off")) < 1


@pytest.mark.parametrize(("answers", "told"), [
    ([3.7], "3.7, which is not from 0 to 1"), ([-1.0], "-1, which is not"), (["yes"], "in place of a number"),
    ([], "answers to"), ([None], "None in place of a number"),
])
def test_answers_of_another_form_are_refused(sample, score, tmp_path, monkeypatch, answers, told):
    """Numbers that are no probabilities, words and gaps end the run; none of them is stored."""
    monkeypatch.setattr(ShapesJudge, "canaries", lambda self: [])
    monkeypatch.setattr(
        ShapesJudge, "p_yes", lambda self, images, questions: [answers * len(asked) for asked in questions],
        raising=False,
    )
    sample(tmp_path / "images")
    with pytest.raises(DataError, match=told):
        score(tmp_path / "images")
    assert not list((tmp_path / "out" / "answers").glob("p_yes-*/part-*")) or not any(
        "?" in path.read_text() for path in (tmp_path / "out" / "answers").glob("p_yes-*/part-*")
    )


def test_names_of_files_break_no_list(sample, score, tmp_path):
    """A file's name with line ends, tabs or bytes that are no text is one row of the list, escaped."""
    sample(tmp_path / "images")
    for name in (b"a\tb\nmissing\tc.png", b"\xff\x1b[2J.png"):
        Path(os.fsdecode(bytes(tmp_path / "images") + b"/" + name)).write_bytes(b"")
    os.mkfifo(tmp_path / "images" / "pipe.png")
    score(tmp_path / "images")
    listed = (tmp_path / "out" / "shapes" / "problems.tsv").read_text(encoding="utf-8").splitlines()
    assert [line.split("\t")[1] for line in listed] == [r"a\tb\nmissing\tc.png", r"\udcff\x1b[2J.png"]


def test_a_judge_that_fails_its_canaries_does_not_score(sample, score, tmp_path, monkeypatch):
    """With --canaries stop nothing is scored; warn scores and the result says so; off is marked."""
    monkeypatch.setattr(ShapesJudge, "canaries", lambda self: ["sees cats everywhere"])
    sample(tmp_path / "images")
    for _ in range(2):
        with pytest.raises(PluginError, match="sees cats everywhere"):
            score(tmp_path / "images")
    warned = score(tmp_path / "images", canaries="warn")
    assert warned["canaries_failed"] == {"yes-no": ["sees cats everywhere"]}
    off = score(tmp_path / "images", canaries="off")
    assert off["path"].name == "shapes.official.limit-8.unchecked.json"
    assert any("canaries were off" in mark for mark in off["marks"])


def test_missing_judges_are_an_error_that_says_how_to_go_on(sample, score, tmp_path):
    """An unknown judge is told with the way out; a role left out leaves its columns without a number."""
    sample(tmp_path / "images")
    with pytest.raises(UsageError, match=r"yes-no \(blip\): there is no judge 'blip'[\s\S]*=none"):
        score(tmp_path / "images", judges={"yes-no": "blip"})
    with pytest.raises(UsageError, match="cannot be vqa"):
        from silmm.bench.judging.roles import check_ability

        check_ability(ShapesJudge(), "vqa", "shapes-parser")
    with pytest.raises(UsageError, match="there is no judge 'blip'"):  # before it samples, which may cost money
        score(None, model="tiny-discrete", judges={"yes-no": "blip"})
    assert not (tmp_path / "out" / "shapes").exists()
    result = score(tmp_path / "images", judges={"yes-no": "none"})
    assert {one["value"] for one in result["columns"]} == {None}
    assert result["left_out"] == ["yes-no"]


def test_shards_are_whole_blocks_and_miss_nothing(tmp_path, monkeypatch):
    """Cut again, a shard's items give the same blocks; the shards together are all items, each once."""
    items = Shapes(ShapesOptions(images=3)).items(tmp_path)
    whole = planning.blocks(items)
    assert [item for block in whole for item in block] == items
    assert {sum(item.images for item in block) for block in whole[:-1]} == {33}
    for count in (1, 2, 5, 1000):
        shards = [planning.items_of_shard(items, (index, count)) for index in range(count)]
        assert sorted(item.id for shard in shards for item in shard) == sorted(item.id for item in items)
        assert all(block in whole for shard in shards for block in planning.blocks(shard))


def test_shards_together_make_the_whole_result(sample, score, tmp_path, monkeypatch):
    """Each shard judges its own prompts; the last one writes what a single run writes, byte for byte."""
    monkeypatch.setattr(planning, "BLOCK", 4)
    sample(tmp_path / "images", wrong=lambda number: number == 5)
    whole = score(tmp_path / "images")
    for index in (0, 1):
        with pytest.raises(Incomplete, match="this shard is done"):
            score(tmp_path / "images", out=tmp_path / "shards", shard=(index, 3))
    last = score(tmp_path / "images", out=tmp_path / "shards", shard=(2, 3))
    assert last["path"].read_bytes() == whole["path"].read_bytes()


@artefacts.SWEEP
def test_killed_before_any_system_call_it_ends_with_the_same_bytes(sample, score, tmp_path, monkeypatch, stride):
    """Killed before the N-th write, fsync or replace and run again, it ends with the same bytes."""
    monkeypatch.setattr("silmm.bench.planning.BLOCK", 5)
    sample(tmp_path / "images")
    whole = score(tmp_path / "images", out=tmp_path / "whole")["path"]
    expected = results_of(whole.parent)
    for number in itertools.count(1, stride):
        out = tmp_path / f"killed-{number}"
        if not artefacts.killed(partial(score, tmp_path / "images", out=out), number):
            break
        score(tmp_path / "images", out=out)
        assert results_of(out) == expected, f"killed before call {number}"
        assert not list(out.rglob(".tmp-*"))
    assert number > 20


def test_killed_again_and_again_it_gets_through(sample, score, tmp_path, monkeypatch):
    """Killed before every 20th system call until it gets through, it ends with the same bytes."""
    monkeypatch.setattr("silmm.bench.planning.BLOCK", 3)
    sample(tmp_path / "images")
    whole = score(tmp_path / "images", out=tmp_path / "whole")["path"]
    out, deaths = tmp_path / "killed", 0
    while artefacts.killed(partial(score, tmp_path / "images", out=out), 20):
        deaths += 1
        assert deaths < 50, "the run makes no headway"
    assert deaths > 1
    assert results_of(out) == results_of(whole.parent)


def results_of(out):
    return {path.name: path.read_bytes() for path in out.iterdir() if path.suffix in (".json", ".parquet")}


def test_the_result_tells_all_that_its_number_depends_on(sample, score, tmp_path):
    """Card, its hash, versions, counts and tables stand in the file; the tables have a row an image."""
    sample(tmp_path / "images")
    result = score(tmp_path / "images")
    card = result["card"]
    assert card["scoring"]["judges"]["yes-no"]["judge"] == "shapes-parser"
    assert card["sampling"]["resolution"] == ["32x32"]
    assert card["sampling"]["seed_rule"] == "unknown"
    assert len(card["sha256"]) == 64
    assert result["marks"] == ["subset: 8 prompts (--limit 8)"]
    assert {"python", "silmm", "numpy"} <= set(result["versions"])
    images = pq.read_table(result["path"].with_name(result["tables"]["images"]["file"])).to_pylist()
    assert len(images) == 16
    assert json.loads(images[0]["scores"]) == {"all_facts_correct": 1.0, "facts": 1.0}
    assert not Path(images[0]["path"]).is_absolute()


def test_the_card_changes_with_what_matters_and_only_then(sample, score, tmp_path):
    """Other images of the same size leave the card alone; another subset changes its hash."""
    sample(tmp_path / "one")
    sample(tmp_path / "two", wrong=lambda _: True)
    one = score(tmp_path / "one")["card"]["sha256"]
    assert score(tmp_path / "two", out=tmp_path / "b")["card"]["sha256"] == one
    sample(tmp_path / "one", images=3)
    assert score(tmp_path / "one", n_images=3, out=tmp_path / "c")["card"]["sha256"] != one


@pytest.mark.parametrize(("changes", "told"), [
    ({"model": "x"}, "one of them"), ({"limit": 0}, "--limit 0"),
    ({"until": "generate"}, "--until generate"), ({"categories": ("colour",)}, "no category 'colour'"),
    ({"judges": {"oracle": "x"}}, "no judge has a role 'oracle'"), ({"sets": {"yes-no": {"x": "1"}}}, "no option 'x'"),
])
def test_what_cannot_work_is_a_usage_error(sample, score, tmp_path, changes, told):
    """Wrong requests end before any image is opened, saying what is wrong."""
    with pytest.raises(UsageError, match=told):
        score(tmp_path / "images", **changes)


def test_images_need_an_author_or_a_folder(registry, tmp_path):
    """Neither a model nor images: the error names both ways."""
    benchmark = build_benchmark(registry, "shapes", {})
    with pytest.raises(UsageError, match=r"--model NAME\[:DIR\] or --images DIR"):
        run_bench(
            benchmark, BenchRequest(out=tmp_path), registry=registry, progress=lambda *_: None, note=lambda _: None
        )


def test_until_judge_stores_answers_without_a_result(sample, score, tmp_path, asked):
    """`until` judge ends with the answers stored; the next call only applies the rules."""
    sample(tmp_path / "images")
    assert score(tmp_path / "images", until="judge") == {}
    asked.clear()
    assert value(score(tmp_path / "images")) == 1.0
    assert asked == []


def test_a_request_has_defaults_for_everything_but_its_place(tmp_path):
    """The contract's request is official, whole and checked unless told otherwise."""
    request = BenchRequest(out=tmp_path)
    assert (request.mode, request.canaries) == ("official", "stop")
    assert (request.limit, request.shard, request.allow_missing) == (None, None, False)
