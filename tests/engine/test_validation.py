"""Validation: the policy is scored on prompts of the iteration that it is never trained on."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest

import silmm.engine.run
from silmm.engine.stages.seed_scope import SeedScope
from silmm.engine.validation import HeldOutScore, held_out
from silmm.engine.workers.run_components import Components
from silmm.errors import DataError
from silmm.registry.registry import Registry
from silmm.storage.paths import RunFolder
from tests.toy import artefacts

EVERY, PROMPTS, IMAGES = 2, 3, 2


@pytest.fixture
def validated(toy_settings):
    """Return a maker of settings for a run of 16 prompts, of which validation takes the last three."""

    def make(every=EVERY, prompts=PROMPTS, **changes):
        options = {"validate_every": every, "validation_prompts": prompts, "validation_images": IMAGES}
        sets = [f"trainer.{name}={value}" for name, value in options.items()] + changes.pop("sets", [])
        return toy_settings(**{"trainer": "toy-validating", "prompts": 16, "sets": sets, **changes})

    return make


@pytest.fixture
def trained_on(toy_registry, monkeypatch):
    """Collect the prompts that each training is given."""
    trained = []
    trainer = importlib.import_module("silmm_toy").ToyTrainer
    real = trainer.train

    def train(self, job):
        trained.append([preference.prompt for preference in job.preferences])
        return real(self, job)

    monkeypatch.setattr(trainer, "train", train)
    return trained


def iteration(run_dir, number=1):
    return RunFolder(run_dir, 3).iteration(number)


def lines(run_dir, number=1):
    text = (run_dir / f"iter-{number}" / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_no_validation_prompt_is_trained_on(run_toy, tmp_path, validated, trained_on):
    """The trainer gets all prompts with pairs but the last ones of the table, which are for validation."""
    run_toy(tmp_path / "run", validated(iterations=2))
    for number, trained in enumerate(trained_on, start=1):
        folder = iteration(tmp_path / "run", number)
        texts = folder.prompts.table().column("prompt").to_pylist()
        paired = set(folder.pairs.table().column("prompt").to_pylist())
        assert set(texts[-PROMPTS:]) & paired
        assert set(trained) == paired - set(texts[-PROMPTS:])
    assert len(trained_on) == 2


def test_the_reference_is_scored_as_its_candidates_were(run_toy, tmp_path, validated):
    """The score of a discrete reference is the mean of the stored scores of the first candidates."""
    run_toy(tmp_path / "run", validated())
    folder = iteration(tmp_path / "run")
    last = folder.prompts.table().column("prompt_id").to_pylist()[-PROMPTS:]
    rows = folder.table("scores").table().to_pylist()
    means = [
        np.mean([row["score"] for row in rows if row["prompt_id"] == prompt_id and row["candidate"] < IMAGES])
        for prompt_id in last
    ]
    step = lines(tmp_path / "run")[EVERY - 1]
    assert step["validation_reference"] == pytest.approx(np.mean(means), abs=1e-12)
    assert step["validation_prompts"] == PROMPTS


def test_the_score_is_that_of_the_tuned_weights(run_toy, tmp_path, validated, toy_registry):
    """The last score and its standard error are those of candidates sampled with the adapter."""
    settings = validated()
    run_toy(tmp_path / "run", settings)
    folder, steps = iteration(tmp_path / "run"), lines(tmp_path / "run")
    components = Components(settings, toy_registry, settings.identity())
    components.model(folder.adapter)
    prompts = held_out(folder, PROMPTS)
    again = own_score(components, folder, prompts)()
    assert steps[-1]["validation_score"] == again.score != steps[-1]["validation_reference"]
    assert [row["step"] for row in steps if "validation_score" in row] == [2, 4, 6]
    each = [own_score(components, folder, prompts.slice(first, 2))().score for first in (0, 1)]
    first, last = (  # means of neighbours give the three: a + b, b + c and a + b + c
        3 * again.score - 2 * each[1], 3 * again.score - 2 * each[0]
    )
    middle = 3 * again.score - first - last
    assert again.error == pytest.approx(np.std([first, middle, last], ddof=1) / np.sqrt(3))
    assert again.error == steps[-1]["validation_error"]


def own_score(components, folder, prompts, images=IMAGES, batch=2):
    questions = folder.table("questions").table()
    return HeldOutScore(
        components, prompts, questions, SeedScope(0, 1), images=images, decodes=1, batch=batch
    )


def test_a_continuous_model_is_sampled_plain_under_several_noises(
    run_toy, tmp_path, validated, toy_registry, monkeypatch
):
    """A continuous model is validated on H without the sampler's noise, decoded with a fixed seed per image."""
    settings = validated(model="toy-continuous", sampler="toy-noise")
    run_toy(tmp_path / "run", settings, until="features")
    toy = importlib.import_module("silmm_toy")
    decoded, folder = [], iteration(tmp_path / "run")
    real = toy.ToyContinuous.decode
    monkeypatch.setattr(
        toy.ToyContinuous, "decode",
        lambda self, z, seeds: decoded.append((np.stack(z), tuple(seeds))) or real(self, z, seeds),
    )
    components = Components(settings, toy_registry, settings.identity())
    model, prompts = components.model(None), held_out(folder, PROMPTS)
    score = own_score(components, folder, prompts, batch=8)
    first, second = score(), score()
    plain = np.stack(model.represent(prompts.column("prompt").to_pylist(), [0] * PROMPTS, None))
    assert len(decoded) == 2 * IMAGES
    assert all(np.array_equal(features, plain) for features, _ in decoded)
    assert len({seeds for _, seeds in decoded[:IMAGES]}) == IMAGES
    assert decoded[:IMAGES][0][1] == decoded[IMAGES:][0][1]
    assert first == second
    assert own_score(components, folder, prompts, batch=1)() == first


def test_off_is_as_before(run_toy, tmp_path, validated, trained_on, toy_settings):
    """With validation switched off, the trainer gets all pairs and writes the same bytes as a trainer without it."""
    run_toy(tmp_path / "off", validated(every=0))
    run_toy(tmp_path / "plain", toy_settings(prompts=16))
    assert trained_on[0] == trained_on[1]
    off, plain = (
        {name: sha for name, sha in artefacts.hashes(tmp_path / run).items() if name.startswith("iter-")}
        for run in ("off", "plain")
    )
    assert "iter-1/adapter/adapter.json" in off
    assert off == plain


def test_a_killed_run_tells_the_same_series(run_toy, tmp_path, validated, monkeypatch):
    """A run that is killed during validation and resumed logs the metrics of an uninterrupted run."""
    settings = validated()
    run_toy(tmp_path / "whole", settings)
    calls = []
    real = HeldOutScore.__call__

    def broken(self):
        calls.append(self)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self)

    monkeypatch.setattr(HeldOutScore, "__call__", broken)
    with pytest.raises(KeyboardInterrupt):
        run_toy(tmp_path / "killed", settings)
    run_toy(tmp_path / "killed", settings)
    assert len(calls) > 3
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")


def test_at_most_a_quarter_is_held_out(run_toy, tmp_path, validated, trained_on):
    """At most a quarter of the prompts is held out for validation."""
    run_toy(tmp_path / "run", validated(prompts=32))
    assert lines(tmp_path / "run")[-1]["validation_prompts"] == 4
    assert len(held_out(iteration(tmp_path / "run"), 32)) == 4


def test_a_prompt_without_questions_is_no_zero(run_toy, tmp_path, validated):
    """A prompt without questions has no score and is left out of the mean and of the number of prompts."""
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(f"thing {number}" for number in range(12)) + "\nsilent one\nfoo\nbar\nbaz\n")
    run_toy(tmp_path / "run", validated(prompts=4, sets=[]).model_copy(update={"prompts": str(path)}))
    assert lines(tmp_path / "run")[-1]["validation_prompts"] == 3


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ([f"thing {n}" for n in range(7)], "There are 1 prompts to validate on, 1 of them with questions"),
        ([f"thing {n}" for n in range(6)] + ["silent a", "silent b"], "2 prompts to validate on, 0 of them"),
        ([f"silent {n}" for n in range(6)] + ["thing a", "thing b"], "All 2 prompts with pairs are among"),
        ([f"thing {n}" for n in range(6)] + ["broken a", "broken b"], "0 of 2 prompts have a finite score"),
    ],
)
def test_too_little_to_validate_on_is_an_error(run_toy, tmp_path, validated, texts, words):
    """Validation without enough prompts, questions, training pairs or finite scores is an error."""
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(texts))
    with pytest.raises(DataError, match=words):
        run_toy(tmp_path / "run", validated().model_copy(update={"prompts": str(path)}))


def test_own_pairs_are_not_validated(run_toy, tmp_path, validated, toy_registry):
    """With `--pairs FILE` the trainer gets no validation."""
    run_toy(tmp_path / "run", validated(), until="pairs")
    pairs = tmp_path / "run/iter-1/pairs/shard-00000.parquet"
    settings = validated(pairs=str(pairs))
    assert Components(settings, toy_registry, settings.identity()).validation is None
    run_toy(tmp_path / "own", settings)
    assert not [row for row in lines(tmp_path / "own") if "validation_score" in row]


def test_random_scores_work_and_never_change(tmp_path, validated, monkeypatch):
    """The `random` scorer gives every validation the same score, whatever the weights."""
    monkeypatch.setenv("SILMM_LOAD_PLUGINS", "silmm,silmm-toy")
    settings = validated().model_copy(update={"scorer": "random"})
    silmm.engine.run.start(settings, tmp_path / "run", registry=Registry.load())
    rows = [row for row in lines(tmp_path / "run") if "validation_score" in row]
    assert len(rows) == 3
    assert {row["validation_score"] for row in rows} == {rows[0]["validation_reference"]}
    assert rows[0]["loss"] != rows[-1]["loss"]
