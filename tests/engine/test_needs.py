"""Runs whose components declare what they need: nothing else is asked, read or sampled again."""

from __future__ import annotations

import importlib
import json

import pytest

import silmm.engine.run
from silmm.engine.settings_resolution import resolve_settings
from silmm.errors import Incomplete, PluginError, SettingsChanged
from silmm.registry.registry import Registry
from silmm.storage.paths import RunFolder
from tests.toy import artefacts

NEEDY = """
import numpy as np
from silmm import hookimpl
from silmm.contracts.candidates import Pair

class ByLatent:
    def score(self, candidates, judge):
        return [float(candidate.latent.mean()) for candidate in candidates]

class AskingJudge:
    def score(self, candidates, judge):
        texts = [[candidate.prompt.text] for candidate in candidates]
        answers = judge.yes_no([candidate.images[0] for candidate in candidates], texts)
        return [float(answer[0, 0]) for answer in answers]

class Greedy:
    def score(self, candidates, judge):
        return [float(candidate.images[0].mean()) for candidate in candidates]

class ByEverything:
    def pairs(self, candidates):
        scored = [c for c in candidates if c.score is not None]
        value = {c.index: c.answers.mean() + c.images[0].mean() + c.latent.mean() for c in scored}
        best, worst = max(value, key=value.get), min(value, key=value.get)
        return [Pair(best, worst, 2.0)] if best != worst else []

@hookimpl
def silmm_register_scorers(register):
    register("by-latent", lambda options: ByLatent(), summary="S.", needs=["latents"])
    register("asking", lambda options: AskingJudge(), summary="S.", needs=["images"], requires=["yes_no"])
    register("greedy", lambda options: Greedy(), summary="S.")

@hookimpl
def silmm_register_pair_rules(register):
    register("by-everything", lambda options: ByEverything(), summary="R.", needs=["answers", "images", "latents"])
"""


@pytest.fixture
def start(toy_site, fake_distribution, monkeypatch):
    """Return a function that starts a toy run with components of a plugin that needs things."""
    monkeypatch.syspath_prepend(str(toy_site))
    fake_distribution("needy", {"needy": "needy_plugin"}, {"needy_plugin": NEEDY})
    monkeypatch.setenv("SILMM_LOAD_PLUGINS", "silmm-toy,needy")
    registry = Registry.load()
    kinds = ("model", "prompter", "sampler", "questioner", "scorer", "pair_rule", "trainer")

    def run(folder, *, arguments=None, **changes):
        sizes = {"prompts": 7, "images_per_prompt": 4, "shard_size": 3, "benchmark": "none"}
        settings = resolve_settings(registry, flags=dict.fromkeys(kinds, "toy") | sizes | changes)
        silmm.engine.run.start(settings, folder, registry=registry, **(arguments or {}))
        return RunFolder(folder, 3).iteration(1)

    return run


@pytest.fixture
def asked(toy_site, monkeypatch):
    """Collect how many questions the toy models are asked in each call."""
    counts = []

    def watch():
        toy = importlib.import_module("silmm_toy")
        real = toy.ToyModel.yes_no
        monkeypatch.setattr(
            toy.ToyModel, "yes_no",
            lambda self, images, questions: counts.append(sum(map(len, questions))) or real(self, images, questions),
        )

    return counts, watch


def test_where_nobody_needs_answers_the_stage_of_questions_is_left_out(start, tmp_path, asked):
    """No folder of questions, no answers, no question to the model; workers and a resumed run write the same."""
    counts, watch = asked
    start(tmp_path / "run", scorer="toy-reward", arguments={"until": "sample"})
    watch()
    folder = start(tmp_path / "run", scorer="toy-reward")
    assert counts == []
    assert not (folder.path / "questions").exists()
    assert folder.table("answers").totals() == {"rows": 0}
    assert folder.table("scores").totals() == {"rows": 28}
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert "questions" not in summary["counts"]["1"]
    start(tmp_path / "workers", scorer="toy-reward", arguments={"workers": 2})
    assert artefacts.hashes(tmp_path / "workers") == artefacts.hashes(tmp_path / "run")


def test_until_questions_stops_where_that_stage_would_be(start, tmp_path):
    """`--until questions` ends after the candidates, and the run goes on from there."""
    folder = start(tmp_path / "run", scorer="toy-reward", arguments={"until": "questions"})
    assert not folder.missing("sample")
    assert not (folder.path / "scores").exists()
    start(tmp_path / "run", scorer="toy-reward")


def test_parts_of_a_run_without_questions_join(start, tmp_path):
    """With --shard nothing waits for questions that nobody asks."""
    for part in (0, 1):
        try:
            start(tmp_path / "parts", scorer="toy-reward", arguments={"shard": (part, 2)})
        except Incomplete:
            assert part == 0
    start(tmp_path / "run", scorer="toy-reward")
    assert artefacts.hashes(tmp_path / "parts") == artefacts.hashes(tmp_path / "run")


def test_a_scorer_may_ask_the_judge_itself(start, tmp_path, asked):
    """One question per candidate, none by the stage; the judge says who it is."""
    counts, watch = asked
    start(tmp_path / "run", scorer="asking", arguments={"until": "sample"})
    watch()
    start(tmp_path / "run", scorer="asking")
    assert counts == [4] * 7


def test_features_reach_scorers_and_pair_rules_that_need_them(start, tmp_path):
    """Candidates of a continuous model are sampled again for them; a pair keeps its weight."""
    folder = start(
        tmp_path / "run", model="toy-continuous", sampler="toy-noise", scorer="by-latent",
        pair_rule="by-everything",
    )
    rows = folder.pairs.table().to_pylist()
    assert len(rows) == 7
    assert {row["weight"] for row in rows} == {2.0}
    assert folder.table("questions").totals()["rows"] == 14
    assert folder.table("answers").totals()["rows"] == 28 * 2
    scores = {(r["prompt_id"], r["candidate"]): r["score"] for r in folder.table("scores").table().to_pylist()}
    from silmm.engine.preferences import stored_preferences

    for preference, row in zip(stored_preferences(folder), rows, strict=True):
        kept = float(preference.latents[preference.pairs[0][0]].mean())
        assert kept == pytest.approx(scores[row["prompt_id"], row["chosen"]], abs=0.02)


def test_what_was_not_declared_is_an_error_that_says_how(start, tmp_path):
    """A scorer that looks at images without having said so fails, though they were read for the questions."""
    with pytest.raises(PluginError, match=r"images of candidates.*needs=\['images'\]"):
        start(tmp_path / "run", scorer="greedy", arguments={"until": "score"})


def test_a_directory_of_another_format_is_refused(start, tmp_path):
    """A run of an earlier version is not gone on with; the message says both formats and what to do."""
    start(tmp_path / "run", arguments={"until": "prompts"})
    path = tmp_path / "run" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 1}))
    with pytest.raises(SettingsChanged, match=r"format 1, of another version.*goes on with format 2\. Use a new run"):
        start(tmp_path / "run")
