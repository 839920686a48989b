"""What sharing promises: nothing is made twice, and every byte is the one that the run would have made."""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

import silmm.engine.run
import silmm.reproduce.sharing
from silmm.registry.registry import Registry
from silmm.reproduce.experiment import Experiment, PaperColumn, Row
from silmm.reproduce.reproduction import others_beside, reproduce
from silmm.reproduce.row_settings import Request, plan_rows
from silmm.reproduce.sharing import DEPENDS, stage_digests
from silmm.storage.json_files import read_json
from tests.toy import artefacts

MORE = """
import numpy as np
from silmm import hookimpl
from silmm.contracts.candidates import Question
from silmm_toy import ToyBenchmark
from tests.toy import artefacts

class MeanYes:
    def score(self, candidates, judge):
        return [float(np.mean(c.answers[:, :, 0])) + c.score_seed % 7 * 1e-3 for c in candidates]

class OneQuestion:
    def ask(self, model, prompts):
        return [(Question(f"is {prompt} there?"),) for prompt in prompts]

class Keeping(ToyBenchmark):
    def kept_by_content(self, work):
        return [path for path in [work / "before.json"] if path.exists()]

@hookimpl
def silmm_register_scorers(register):
    register("mean-yes", lambda options: MeanYes(), summary="S.")

@hookimpl
def silmm_register_questioners(register):
    register("one", lambda options: OneQuestion(), summary="Q.")

@hookimpl
def silmm_register_benchmarks(register):
    register("keeping", lambda options: Keeping(), summary="B.")
"""
KINDS = ("prompter", "sampler", "questioner", "scorer", "pair_rule", "trainer")
REQUEST = Request(
    "toy", "keeping", "7", (*(f"{kind}=toy" for kind in KINDS), "images_per_prompt=4", "shard_size=3"),
)
COLUMNS = (PaperColumn("toy", ("toy",)),)


def experiment(*rows, **changes):
    return Experiment("toy", "Toy", "", COLUMNS, rows, kind="discrete", **changes)


BASE = Row("base", iteration=0, paper=(10.0,))
PLAIN = Row("plain", paper=(20.0,))
SCORER = Row("mean of yes", {"scorer": "mean-yes"}, paper=(15.0,))
QUESTIONS = Row("one question", {"questioner": "one"}, paper=(12.0,))
STEPS = Row("three steps", {"trainer.max_steps": 3}, paper=(18.0,))
TWICE = Row("two iterations", {"iterations": 2})
ROWS = (BASE, PLAIN, SCORER, QUESTIONS, STEPS, TWICE)


@pytest.fixture
def registry(toy_site, fake_distribution, monkeypatch):
    """Return a registry with the toy package, a second scorer and questioner, and a benchmark that shares."""
    monkeypatch.syspath_prepend(str(toy_site))
    fake_distribution("silmm-more", {"more": "reproduce_more"}, {"reproduce_more": MORE})
    monkeypatch.setenv("SILMM_LOAD_PLUGINS", "silmm-toy,silmm-more")
    return Registry.load()


@pytest.fixture
def counts(registry, monkeypatch):
    """Count the real work: candidates sampled, questions asked, images answered about, trainings."""
    toy = sys.modules["silmm_toy"]
    counted = Counter()

    def count(owner, method, units):
        real = getattr(owner, method)

        def wrapper(self, *arguments, **named):
            counted[method] += units(*arguments, **named)
            return real(self, *arguments, **named)

        monkeypatch.setattr(owner, method, wrapper)

    count(toy.ToySampler, "sample", lambda model, prompts, seeds: len(prompts))
    count(toy.ToyModel, "yes_no", lambda images, questions: len(images))
    count(toy.ToyModel, "represent", lambda prompts, seeds, sampling: len(prompts))
    count(toy.ToyPrompter, "write", lambda *arguments: 1)
    count(toy.ToyTrainer, "train", lambda *arguments, **named: 1)
    return counted


def all_hashes(home):
    return {run.name: artefacts.hashes(run) for run in (home / "runs").iterdir()}


def test_what_rows_share_is_made_once(registry, counts, tmp_path):
    """Five runs: one prompting and sampling per iteration, answers per questions, trainings per pairs."""
    result = reproduce(experiment(*ROWS), REQUEST, tmp_path, registry=registry)
    candidates = 7 * 4
    assert counts["write"] == 1 + 1  # the second is the second iteration's own
    assert counts["sample"] == 2 * candidates
    assert counts["yes_no"] == 3 * candidates  # two questioners, and the second iteration
    assert counts["train"] == 4 + 1  # plain, mean of yes, one question, three steps; one more iteration
    evaluated = counts["represent"] - counts["sample"]
    assert evaluated == 8 * (1 + 4 + 2)  # the base once, and each run's adapters
    runs = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert len(runs) == 5
    by_row = {line.name: line.plan.runs[0] for line in result.lines}
    assert by_row["base"] == by_row["plain"]
    assert result.shared[by_row["mean of yes"]] == {
        "iter-1/prompts": by_row["plain"], "iter-1/sample": by_row["plain"],
        "iter-1/questions": by_row["plain"], "iter-1/answers": by_row["plain"], "eval": by_row["plain"],
    }
    assert "iter-1/train" in result.shared[by_row["two iterations"]]


def test_a_run_with_shared_stages_has_the_bytes_of_one_without(registry, tmp_path):
    """Every file of every row equals that of the same settings run alone in a fresh directory."""
    table = experiment(*ROWS)
    reproduce(table, REQUEST, tmp_path / "shared", registry=registry)
    for plan in plan_rows(registry, table, REQUEST)[1:]:
        alone = tmp_path / plan.runs[0]
        silmm.engine.run.start(plan.settings[0], alone, registry=registry)
        (path,) = (tmp_path / "shared" / "runs").glob(f"*{alone.name[-8:]}")
        actual, expected = artefacts.hashes(path), artefacts.hashes(alone)
        work = "iter-1/train/"  # what only the training itself leaves behind
        assert {name: actual[name] for name in actual if not name.startswith(work)} == {
            name: expected[name] for name in expected if not name.startswith(work)
        }, plan.row.name


def test_stages_are_links_where_links_work_and_copies_elsewhere(registry, tmp_path, monkeypatch):
    """A shared shard is the donor's own file; without links it is a copy with the same bytes."""
    table = experiment(PLAIN, STEPS)
    reproduce(table, REQUEST, tmp_path / "one", registry=registry)

    def refuse(*arguments, **named):
        raise OSError("no links here")

    monkeypatch.setattr(silmm.reproduce.sharing.os, "link", refuse)
    reproduce(table, REQUEST, tmp_path / "two", registry=registry)
    shard = "iter-1/candidates/shard-00000.parquet"
    first, second = (sorted((tmp_path / name / "runs").glob(f"*/{shard}")) for name in ("one", "two"))
    assert first[0].samefile(first[1])
    assert not second[0].samefile(second[1])
    assert second[0].read_bytes() == second[1].read_bytes() == first[0].read_bytes()


def test_interrupted_at_any_stage_it_goes_on_to_the_same_bytes(registry, counts, tmp_path):
    """Stopped after each stage in turn and called again, the runs end as if never stopped, nothing redone."""
    table = experiment(PLAIN, SCORER, STEPS)
    reproduce(table, REQUEST, tmp_path / "whole", registry=registry)
    once = dict(counts)
    counts.clear()

    class Stop:
        def silmm_stage_finished(self, run, iteration, stage):
            raise KeyboardInterrupt

    stops = 0
    while True:
        try:
            reproduce(table, REQUEST, tmp_path / "stopped", registry=registry, observers=(Stop(),))
            break
        except KeyboardInterrupt:
            stops += 1
    assert stops > 8
    assert dict(counts) == once
    manifests = [(tmp_path / name / "shared.json").read_bytes() for name in ("whole", "stopped")]
    assert manifests[0] == manifests[1]
    assert all_hashes(tmp_path / "stopped") == all_hashes(tmp_path / "whole")


@artefacts.SWEEP
def test_killed_while_linking_it_goes_on_to_the_same_bytes(registry, tmp_path, monkeypatch, stride):
    """Stopped before the N-th link, no half-linked stage is ever taken for a whole one."""
    table = experiment(PLAIN, STEPS)
    request = replace(REQUEST, sets=(*REQUEST.sets, "shard_size=7"))  # fewer files, the same promise
    reproduce(table, request, tmp_path / "whole", registry=registry)
    expected = all_hashes(tmp_path / "whole")
    real, left = os.link, Counter()

    def link(*arguments, **named):
        left["calls"] -= 1
        if left["calls"] == 0:
            raise KeyboardInterrupt
        real(*arguments, **named)

    for number in range(1, 100, stride):
        home = tmp_path / f"stopped-{number}"
        left["calls"] = number
        with monkeypatch.context() as patch:
            patch.setattr(silmm.reproduce.sharing.os, "link", link)
            try:
                reproduce(table, request, home, registry=registry)
            except KeyboardInterrupt:
                reproduce(table, request, home, registry=registry)
            else:
                break
        assert all_hashes(home) == expected
    assert number > 10


def test_a_damaged_donor_gives_nothing(registry, tmp_path):
    """A run whose run.json is torn shares no stage, and stops nobody."""
    first = reproduce(experiment(PLAIN), REQUEST, tmp_path, registry=registry)
    donor = tmp_path / "runs" / first.lines[0].plan.runs[0]
    (donor / "run.json").write_text("{")
    note = []
    reproduce(experiment(STEPS), REQUEST, tmp_path, registry=registry, note=note.append)
    assert not any("taken from" in line for line in note)


def test_other_results_share_only_where_they_are_named(registry, counts, tmp_path):
    """`reuse` takes the stages of another result's runs; without it everything is made anew."""
    reproduce(experiment(PLAIN), REQUEST, tmp_path / "one", registry=registry)
    reproduce(experiment(STEPS), REQUEST, tmp_path / "two", registry=registry)
    assert counts["sample"] == 2 * 28
    assert others_beside(tmp_path / "three") == [tmp_path / "one", tmp_path / "two"]
    reproduce(experiment(PLAIN), REQUEST, tmp_path / "three", registry=registry, reuse=[tmp_path / "one"])
    assert counts["sample"] == 2 * 28
    assert counts["train"] == 2  # equal settings share the training too


def test_every_stage_of_a_run_is_known_to_sharing():
    """A stage that is added to the loop is either shared or named here as not shared."""
    from silmm.storage.paths import STAGES

    assert set(STAGES) <= set(DEPENDS)


def test_digests_change_with_what_a_stage_depends_on_and_with_nothing_else(registry, tmp_path):
    """The scorer moves scores and what follows, the sampler all after the candidates, the seed everything."""
    base = plan_rows(registry, experiment(PLAIN), REQUEST)[0].settings[0]
    silmm.engine.run.start(base, tmp_path / "run", registry=registry, until="prompts")
    record = read_json(tmp_path / "run" / "run.json")
    digests = stage_digests(record)

    def moved(**changes):
        other = {**record, "settings": {**record["settings"], **changes}}
        changed = stage_digests(other)
        return {stage for stage in DEPENDS if digests[1, stage] != changed[1, stage]}

    late = {"score", "pairs", "features", "train"}
    assert moved(scorer="mean-yes") == late
    assert moved(judge_model="toy") == late | {"answers"}
    assert moved(questioner="one") == late | {"questions", "answers"}
    assert moved(sampler="other") == late | {"sample", "answers"}
    assert moved(pair_rule="other") == late - {"score"}
    assert moved(trainer="other") == moved(kernel="cos") == {"train"}
    every = set(DEPENDS)
    plain = ("seed", "prompts", "limit", "shard_size", "threads")
    for name in (*plain, "benchmark", "model", "prompter", "unheard_of"):
        assert moved(**{name: 99}) == every, name
    heavier = {**record, "components": {**record["components"], "model": {"revision": "other"}}}
    assert set(stage_digests(heavier).values()).isdisjoint(digests.values())


def test_a_run_that_fails_is_told_and_stops_nothing(registry, tmp_path, monkeypatch):
    """A row whose run ends in an error carries it, the others have numbers, and the next call tries again."""
    toy = sys.modules["silmm_toy"]
    real = toy.ToyTrainer.train

    def diverge(self, *arguments, **named):
        if self.steps == 3:
            from silmm.errors import DataError

            raise DataError("the training has diverged")
        return real(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(toy.ToyTrainer, "train", diverge)
        result = reproduce(experiment(PLAIN, STEPS), REQUEST, tmp_path, registry=registry)
    good, bad = result.lines
    assert good.cells
    assert bad.plan.failed
    assert "diverged" in bad.plan.reason
    again = reproduce(experiment(PLAIN, STEPS), REQUEST, tmp_path, registry=registry)
    assert again.lines[1].cells
    assert Path(tmp_path / "shared.json").is_file()
