"""Candidates as plugins see them: read-only, decoded when touched, nothing that was not declared."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from silmm.contracts.candidates import Prompt, Question, Sampled
from silmm.contracts.records import CANDIDATES, QUESTIONS, SCORES
from silmm.engine.stages import candidate_views
from silmm.engine.stages.candidate_views import candidate_groups, stored_answers, view_columns
from silmm.engine.stages.sample_stage import resample_features, sample_candidates
from silmm.engine.stages.seed_scope import SeedScope
from silmm.errors import PluginError
from silmm.seeds import derive
from silmm.storage.tables import prompt_table

SCOPE = SeedScope(seed=3, iteration=2)
PROMPTS = prompt_table([Prompt("a cat", "animals"), Prompt("a dog", "animals")])


@pytest.fixture
def toy(toy_registry):
    """Return the toy model and its sampler."""
    return toy_registry.build("model", "toy", {}), toy_registry.build("sampler", "toy", {})


@pytest.fixture
def continuous(toy_registry):
    """Return the continuous toy model and its sampler."""
    return toy_registry.build("model", "toy-continuous", {}), toy_registry.build("sampler", "toy-noise", {})


def test_a_view_holds_what_is_known_of_a_candidate(toy):
    """Prompt, index, seeds, latent, images, questions, answers and score, of the tables' rows."""
    model, sampler = toy
    table, _ = sample_candidates(model, sampler, PROMPTS, 3, SCOPE, decodes=2)
    first, second = PROMPTS["prompt_id"].to_pylist()
    questions = pa.Table.from_pylist(
        [{"prompt_id": second, "index": 0, "statement": "a dog", "question": "a dog?"}], schema=QUESTIONS
    )
    answers = {(second, 1): np.array([[[0.75, 0.25]], [[0.5, 0.5]]])}
    scores = pa.Table.from_pylist(
        [
            {"prompt_id": second, "candidate": 1, "score": 0.25, "status": "ok"},
            {"prompt_id": second, "candidate": 2, "score": None, "status": "non-finite"},
        ],
        schema=SCORES,
    )
    cats, dogs = candidate_groups(
        PROMPTS, table, SCOPE, questions=questions, answers=answers, scores=scores
    )
    assert [candidate.index for candidate in dogs] == [0, 1, 2]
    dog = dogs[1]
    assert dog.prompt == Prompt("a dog", "animals")
    assert dog.seed == derive(3, "iteration", 2, "sample", "a dog", 1)
    assert dog.score_seed == derive(3, "iteration", 2, "score", "a dog", 1)
    assert dog.latent.tolist() == model.represent(["a dog"], [dog.seed], None)[0].tolist()
    assert dog.latent.dtype == np.int32
    assert len(dog.images) == 2
    assert np.array_equal(dog.images[0], model.decode([dog.latent], [0])[0])
    assert dog.questions == (Question("a dog?", "a dog"),)
    assert dog.answers.tolist() == answers[second, 1].tolist()
    assert [candidate.score for candidate in dogs] == [None, 0.25, None]
    assert (cats[0].prompt.text, cats[0].questions, cats[0].answers) == ("a cat", (), None)
    assert first != second


def test_nothing_of_a_view_can_be_changed(toy):
    """Latent, images and answers are read-only arrays, and no field can be set."""
    table, _ = sample_candidates(*toy, PROMPTS, 2, SCOPE)
    answers = {(PROMPTS["prompt_id"][0].as_py(), 0): np.full((1, 2, 2), 0.5)}
    candidate = candidate_groups(PROMPTS, table, SCOPE, answers=answers)[0][0]
    for array in (candidate.latent, candidate.images[0], candidate.answers):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    for name in ("index", "latent", "score"):
        with pytest.raises(AttributeError):
            setattr(candidate, name, 1)


def test_images_are_decoded_when_touched_and_once(toy, monkeypatch):
    """A scorer that looks at one image of one candidate costs one PNG."""
    table, _ = sample_candidates(*toy, PROMPTS, 3, SCOPE, decodes=2)
    decoded = []
    real = candidate_views.decode_png
    monkeypatch.setattr(candidate_views, "decode_png", lambda cell: decoded.append(1) or real(cell))
    group = candidate_groups(PROMPTS, table, SCOPE)[0]
    assert not decoded
    for _ in range(2):
        assert group[1].images[1].shape == (4, 6, 3)
    assert len(decoded) == 1
    assert len(group[0].images[:2]) == 2
    assert len(decoded) == 3


def test_undeclared_images_and_features_are_an_error_that_says_how(toy, continuous):
    """What a component did not declare is not read from the disk; touching it names `needs`."""
    table, _ = sample_candidates(*toy, PROMPTS, 2, SCOPE)
    columns = view_columns(frozenset({"answers"}))
    candidate = candidate_groups(PROMPTS, table.select(columns), SCOPE)[0][0]
    with pytest.raises(PluginError, match=r"needs=\['images'\]"):
        candidate.images[0]
    table, _ = sample_candidates(*continuous, PROMPTS, 2, SCOPE)
    candidate = candidate_groups(PROMPTS, table, SCOPE)[0][0]
    with pytest.raises(PluginError, match=r"needs=\['latents'\]"):
        candidate.latent  # noqa: B018 - touching it is the test


def test_features_of_a_continuous_model_are_those_that_were_decoded(continuous):
    """Sampled again from the seeds, the latent of a view is the H whose content id stands in the table."""
    table, _ = sample_candidates(*continuous, PROMPTS, 2, SCOPE)
    latents = resample_features(*continuous, PROMPTS, table)
    for group in candidate_groups(PROMPTS, table, SCOPE, latents=latents):
        for candidate in group:
            assert candidate.latent.shape == (3, 8)
            rows = table.to_pylist()
            (row,) = [row for row in rows if row["seed"] == candidate.seed]
            assert row["latent_id"] == candidate_views_id(candidate.latent)


def candidate_views_id(latent):
    from silmm.storage.tables import latent_columns

    return latent_columns(np.array(latent))["latent_id"]


def test_where_a_candidate_comes_from_is_kept(toy):
    """The sampler's meta stands as JSON in the table and in the view; a bare latent has none."""
    model, sampler = toy

    class Telling:
        def sample(self, model, prompts, seeds):
            latents = sampler.sample(model, prompts, seeds)
            return [Sampled(z, {"said": prompt.upper()}) for z, prompt in zip(latents, prompts, strict=True)]

    table, _ = sample_candidates(model, Telling(), PROMPTS, 2, SCOPE)
    assert table.schema.equals(CANDIDATES)
    assert [json.loads(cell) for cell in table["meta"].to_pylist()[1:3]] == [{"said": "A CAT"}, {"said": "A DOG"}]
    assert candidate_groups(PROMPTS, table, SCOPE)[1][0].meta == {"said": "A DOG"}
    bare, _ = sample_candidates(model, sampler, PROMPTS, 2, SCOPE)
    assert bare["meta"].null_count == 4
    assert dict(candidate_groups(PROMPTS, bare, SCOPE)[0][0].meta) == {}
    assert table.drop_columns("meta").equals(bare.drop_columns("meta"))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda z: "z", "str in place of an array"),
        (lambda z: Sampled(z, {"seed": object()}), "meta that is not JSON-able"),
        (lambda z: Sampled(z, {"rate": float("nan")}), "meta that is not JSON-able"),
    ],
)
def test_what_is_no_sample_is_an_error_of_the_sampler(toy, made, words):
    """Another type, and a meta that JSON cannot hold, name the sampler and its distribution."""

    class Wrong:
        def sample(self, model, prompts, seeds):
            return [made(np.zeros(6, np.int32)) for _ in prompts]

    with pytest.raises(PluginError, match=f"The sampler 'wrong' of kit 1.0.*{words}"):
        sample_candidates(toy[0], Wrong(), PROMPTS, 2, SCOPE, who="The sampler 'wrong' of kit 1.0")


def test_answers_of_a_table_are_those_that_were_stored():
    """Arrays (decodes, n_questions, 2) by candidate, NaN where a cell is empty."""
    row = {"prompt_id": "p", "candidate": 1, "decode": 0, "index": 0, "p_yes": 0.5, "p_no": 0.25}
    rows = [row, row | {"index": 1, "p_yes": None}, row | {"decode": 1}, row | {"decode": 1, "index": 1}]
    (answers,) = stored_answers(pa.Table.from_pylist(rows)).values()
    assert answers.shape == (2, 2, 2)
    assert np.isnan(answers[0, 1, 0])
    assert answers[1].tolist() == [[0.5, 0.25]] * 2
