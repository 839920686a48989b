"""Stages count what they leave out and never make up a number (promise 7)."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from silmm.contracts.candidates import Pair, Prompt
from silmm.contracts.records import PAIRS, prompt_id
from silmm.engine.preferences import preferences
from silmm.engine.stages.pair_stage import choose_pairs
from silmm.engine.stages.prompt_stage import keep_prompts
from silmm.engine.stages.question_stage import ask_questions
from silmm.engine.stages.sample_stage import sample_candidates
from silmm.engine.stages.score_stage import RunJudge, score_candidates
from silmm.engine.stages.seed_scope import SeedScope
from silmm.errors import DataError, PluginError
from silmm.storage.tables import prompt_table

SCOPE = SeedScope(seed=3, iteration=1)


@pytest.fixture
def parts(toy_registry):
    kinds = ("model", "sampler", "questioner", "scorer", "pair-rule")
    return {kind: toy_registry.build(kind, "toy", {}) for kind in kinds}


def tables(parts, *texts):
    prompts = prompt_table([Prompt(text, "toy") for text in texts])
    sampled, _ = sample_candidates(parts["model"], parts["sampler"], prompts, 4, SCOPE)
    asked, counts = ask_questions(parts["model"], parts["questioner"], prompts)
    return prompts, sampled, asked, counts


def score(parts, prompts, sampled, asked):
    return score_candidates(RunJudge(parts["model"]), parts["scorer"], prompts, sampled, asked, scope=SCOPE)


def test_a_candidate_does_not_depend_on_its_company(parts):
    """The rows of a prompt are the same alone, among others, and in another order (promise 3)."""
    _, together, _, _ = tables(parts, "a", "b", "c")
    _, turned, _, _ = tables(parts, "c", "b", "a")
    _, alone, _, _ = tables(parts, "b")
    middle = together.slice(4, 4)
    assert middle.equals(alone)
    assert middle.equals(turned.slice(4, 4))


def test_repeated_candidate_numbers_of_own_pairs_lose_no_tokens():
    """Two pairs of one prompt with the same candidate numbers and other tokens keep all their tokens."""
    rows = [
        {"prompt_id": "p", "prompt": "a", "chosen": 0, "rejected": 1, "chosen_z": [z], "rejected_z": [z + 1]}
        for z in (1, 3)
    ]
    [preference] = preferences(pa.Table.from_pylist(rows, schema=PAIRS))
    assert [latent.tolist() for latent in preference.latents] == [[1], [2], [3], [4]]
    assert preference.pairs == ((0, 1), (2, 3))


def test_held_out_and_repeated_prompts_are_dropped_and_counted():
    """No prompt that the benchmark holds out passes, whatever the prompter returned."""
    prompts = [Prompt(text, "x") for text in ("a", "held", "a", "b", "c")]
    result = keep_prompts(prompts, 2, lambda text: text == "held", {"malformed": 4})
    assert [prompt.text for prompt in result.prompts] == ["a", "b"]
    assert result.rejected == {"malformed": 4, "excluded": 1, "duplicate": 1}


def test_prompts_that_the_model_cannot_read_are_dropped_and_counted():
    """Prompts that the model cannot read are counted; if no other prompt remains, the error names one."""
    prompts = [Prompt(text, "x") for text in ("a dog", "a circle", "a cat")]

    def reads(text):
        return "circle" in text

    result = keep_prompts(prompts, None, lambda text: False, reads=reads)
    assert [prompt.text for prompt in result.prompts] == ["a circle"]
    assert result.rejected == {"unreadable": 2}
    with pytest.raises(DataError, match="cannot read 2 of them, such as 'a dog'"):
        keep_prompts(prompts[::2], None, lambda text: False, reads=reads)


def test_what_cannot_be_scored_has_a_status_and_no_number(parts):
    """A prompt without questions and an answer that is not finite give null scores and counts."""
    prompts, sampled, asked, counts = tables(parts, "fine", "silent", "broken")
    assert counts == {"no-questions": 1}
    answers, scores, counts = score(parts, prompts, sampled, asked)
    assert counts == {"no-questions": 4, "non-finite": 4}
    by_status = {row["status"]: row["score"] for row in scores.to_pylist()}
    assert by_status["no-questions"] is None
    assert by_status["non-finite"] is None
    assert np.isfinite(by_status["ok"])
    values = answers.filter(pa.compute.equal(answers["prompt_id"], prompt_id("broken")))
    assert set(values["p_yes"].to_pylist()) == {None}


def test_unscored_candidates_are_in_no_pair(parts):
    """Pairs come from scored candidates and hold both z; prompts without pairs are counted."""
    prompts, sampled, asked, _ = tables(parts, "fine", "silent", "broken")
    _, scores, _ = score(parts, prompts, sampled, asked)
    pairs, counts = choose_pairs(parts["pair-rule"], prompts, sampled, scores, scope=SCOPE)
    rows = pairs.to_pylist()
    assert [row["prompt"] for row in rows] == ["fine"]
    assert rows[0]["chosen_score"] > rows[0]["rejected_score"]
    z = {row["candidate"]: row["z"] for row in sampled.to_pylist()[:4]}
    assert rows[0]["chosen_z"] == z[rows[0]["chosen"]]
    assert counts == {"prompts-without-pairs": 2}


def test_a_rule_that_picks_the_unscored_is_an_error(parts):
    """A pair with a candidate that has no score is refused, not trained on."""
    prompts, sampled, asked, _ = tables(parts, "silent")
    _, scores, _ = score(parts, prompts, sampled, asked)

    class Careless:
        def pairs(self, candidates):
            return [Pair(0, 1)]

    with pytest.raises(PluginError, match="silent"):
        choose_pairs(Careless(), prompts, sampled, scores, scope=SCOPE)


def test_too_few_results_are_an_error(parts):
    """A component that returns too few results is an error before anything is stored."""

    class Loses:
        def sample(self, model, prompts, seeds):
            return []

    prompts = prompt_table([Prompt("a", "x")])
    with pytest.raises(PluginError, match="0 results for 2"):
        sample_candidates(parts["model"], Loses(), prompts, 2, SCOPE)


def pair(chosen, rejected, chosen_z, rejected_z):
    row = {"prompt_id": "id", "prompt": "a prompt", "chosen": chosen, "rejected": rejected}
    return dict.fromkeys(PAIRS.names) | row | {"chosen_z": chosen_z, "rejected_z": rejected_z}


def test_preferences_hold_each_candidate_once():
    """Preferences of a prompt hold each candidate once, by number or, for own pairs, by content."""
    numbered = [pair(5, 2, [1], [2]), pair(5, 7, [1], [3])]
    plain = [pair(None, None, [1], [2]), pair(None, None, [1], [3])]
    for rows in (numbered, plain):
        (preference,) = preferences(pa.Table.from_pylist(rows, schema=PAIRS))
        assert [latent.tolist() for latent in preference.latents] == [[1], [2], [3]]
        assert preference.pairs == ((0, 1), (0, 2))


def test_features_stand_in_for_tokens():
    """Pairs of a continuous model take H from the feature store; a missing H is an error that names the prompt."""
    table = pa.Table.from_pylist([pair(4, 1, None, None), pair(4, 2, None, None)], schema=PAIRS)
    (preference,) = preferences(table, lambda identity, numbers: [f"{identity} {number}" for number in numbers])
    assert preference.latents == ["id 4", "id 1", "id 2"]
    assert preference.pairs == ((0, 1), (0, 2))
    with pytest.raises(DataError, match="a prompt"):
        preferences(table)


def test_candidates_of_a_prompt_share_the_decoders_noise(parts):
    """All candidates of a prompt share the decoder's seed, and each has a seed of its own."""
    decoder_seeds = []

    class Noisy(type(parts["model"])):
        def decode(self, latents, seeds):
            decoder_seeds.extend(seeds)
            return super().decode(latents, seeds)

    _, sampled, _, _ = tables({**parts, "model": Noisy()}, "a", "b")
    assert decoder_seeds[:4] == [decoder_seeds[0]] * 4
    assert decoder_seeds[4:] == [decoder_seeds[4]] * 4
    assert decoder_seeds[0] != decoder_seeds[4]
    assert len({*sampled["seed"].to_pylist(), decoder_seeds[0], decoder_seeds[4]}) == 10


def test_a_candidates_score_is_the_mean_over_its_noises(toy_registry):
    """With three decodes per candidate, the score is the mean over three noises that all candidates share."""
    parts = {kind: toy_registry.build(kind, "toy", {}) for kind in ("questioner", "scorer")}
    model = toy_registry.build("model", "toy-continuous", {})
    sampler = toy_registry.build("sampler", "toy-noise", {})
    prompts = prompt_table([Prompt("a", "x"), Prompt("b", "x")])
    asked, _ = ask_questions(model, parts["questioner"], prompts)
    single_noise, _ = sample_candidates(model, sampler, prompts, 4, SCOPE)
    three, _ = sample_candidates(model, sampler, prompts, 4, SCOPE, 3)
    assert three.drop_columns("further_images").equals(single_noise.drop_columns("further_images"))
    assert [len(further) for further in three["further_images"].to_pylist()] == [2] * 8
    answers, scores, _ = score_candidates(RunJudge(model), parts["scorer"], prompts, three, asked, scope=SCOPE)
    first, alone, _ = score_candidates(RunJudge(model), parts["scorer"], prompts, single_noise, asked, scope=SCOPE)
    by_decode = [answers.filter(pa.compute.equal(answers["decode"], number)) for number in range(3)]
    assert by_decode[0].equals(first)
    assert [table.num_rows for table in by_decode] == [first.num_rows] * 3
    means = sum(table["p_yes"].to_numpy() - table["p_no"].to_numpy() for table in by_decode) / 3
    assert np.allclose(scores["score"].to_numpy(), means.reshape(8, 2).mean(1))
    assert not np.allclose(scores["score"].to_numpy(), alone["score"].to_numpy())


def test_what_the_sampler_drops_is_counted_for_each_shard(parts):
    """Rewrites that a sampler drops are counted for the shard in which they occur."""

    class Picky(type(parts["sampler"])):
        def __init__(self):
            self.dropped = Counter({"earlier": 3})

        def sample(self, model, prompts, seeds):
            self.dropped["unreadable rewriting"] += 1
            return super().sample(model, prompts, seeds)

    picky = Picky()
    for text in ("a", "b"):
        prompts = prompt_table([Prompt(text, "x")])
        _, counts = sample_candidates(parts["model"], picky, prompts, 2, SCOPE)
        assert counts == {"unreadable rewriting": 1}


def test_what_the_questioner_drops_is_counted_for_each_shard():
    """Replies that a questioner drops are counted for the shard in which they occur."""

    class Picky:
        def __init__(self):
            self.dropped = Counter()

        def ask(self, model, prompts):
            self.dropped["malformed question"] += len(prompts)
            return [() for _ in prompts]

    picky = Picky()
    for text in ("a", "b"):
        _, counts = ask_questions(None, picky, prompt_table([Prompt(text, "color")]))
        assert counts == {"malformed question": 1, "no-questions": 1}
