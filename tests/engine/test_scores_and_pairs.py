"""What a scorer or a pair rule returns is checked, counted or refused; it never becomes a wrong number."""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from silmm.contracts.candidates import Pair, Prompt
from silmm.contracts.judges import FeedbackJudge
from silmm.contracts.records import PAIRS
from silmm.engine.preferences import preferences
from silmm.engine.stages.pair_stage import choose_pairs, makes_pairs
from silmm.engine.stages.question_stage import ask_questions
from silmm.engine.stages.sample_stage import sample_candidates
from silmm.engine.stages.score_stage import RunJudge, score_candidates
from silmm.engine.stages.seed_scope import SeedScope
from silmm.errors import DataError, PluginError, UsageError
from silmm.storage.tables import prompt_table, read_pairs

SCOPE = SeedScope(seed=3, iteration=1)
WHO = "The scorer 'odd' of kit 1.0"


@pytest.fixture
def parts(toy_registry):
    """Return toy components."""
    kinds = ("model", "sampler", "questioner", "scorer", "pair-rule")
    return SimpleNamespace(**{kind.replace("-", "_"): toy_registry.build(kind, "toy", {}) for kind in kinds})


@pytest.fixture
def tables(parts):
    """Return PROMPTS, CANDIDATES and QUESTIONS of two prompts with three candidates each."""
    prompts = prompt_table([Prompt("a cat", "x"), Prompt("a dog", "x")])
    sampled, _ = sample_candidates(parts.model, parts.sampler, prompts, 3, SCOPE)
    questions, _ = ask_questions(parts.model, parts.questioner, prompts)
    return prompts, sampled, questions


def scored(parts, tables, score, **named):
    scorer = SimpleNamespace(score=score)
    return score_candidates(RunJudge(parts.model), scorer, *tables, scope=SCOPE, who=WHO, **named)


def test_a_scorer_sees_the_candidates_of_a_prompt_together(parts, tables):
    """One call per prompt, all candidates by index, each with its answers; the judge is lent."""
    calls = []

    def score(candidates, judge):
        calls.append([(candidate.prompt.text, candidate.index) for candidate in candidates])
        assert isinstance(judge, FeedbackJudge)
        assert all(candidate.answers.shape == (1, 2, 2) for candidate in candidates)
        return [candidate.index / 2 for candidate in candidates]

    _, scores, counts = scored(parts, tables, score)
    assert calls == [[(text, index) for index in range(3)] for text in ("a cat", "a dog")]
    assert scores["score"].to_pylist() == [0.0, 0.5, 1.0] * 2
    assert counts == {}


def test_candidates_without_a_score_are_counted_by_reason(parts, tables):
    """None is no score, NaN and infinity are not finite; all others keep theirs."""
    _, scores, counts = scored(parts, tables, lambda candidates, judge: [None, math.nan, np.float32(0.5)])
    assert scores["status"].to_pylist() == ["no-score", "non-finite", "ok"] * 2
    assert scores["score"].to_pylist() == [None, None, 0.5] * 2
    assert counts == {"no-score": 2, "non-finite": 2}


def test_a_candidate_whose_answers_are_not_finite_is_not_shown(parts):
    """A scorer that needs answers sees candidates with sound ones alone; the others keep their reason."""
    prompts = prompt_table([Prompt(text, "x") for text in ("fine", "broken", "silent")])
    sampled, _ = sample_candidates(parts.model, parts.sampler, prompts, 2, SCOPE)
    questions, _ = ask_questions(parts.model, parts.questioner, prompts)
    calls = []

    def score(candidates, judge):
        calls.extend(candidate.prompt.text for candidate in candidates)
        return [0.0] * len(candidates)

    _, scores, counts = scored(parts, (prompts, sampled, questions), score)
    assert calls == ["fine"] * 2
    assert scores["status"].to_pylist() == ["ok"] * 2 + ["non-finite"] * 2 + ["no-questions"] * 2
    assert counts == {"non-finite": 2, "no-questions": 2}


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (lambda candidates, judge: [0.5], "returned 1 results for 3 inputs"),
        (lambda candidates, judge: None, "NoneType in place of a list"),
        (lambda candidates, judge: ["high"] * 3, "gave str 'high' as the score of a candidate of 'a cat'"),
        (lambda candidates, judge: [True] * 3, "gave bool True"),
        (lambda candidates, judge: [np.zeros(2)] * 3, "gave ndarray"),
        (lambda candidates, judge: [candidates[9]], "failed while it scored the candidates of 'a cat': IndexError"),
        (lambda candidates, judge: sys.exit(0), "SystemExit"),
    ],
)
def test_a_faulty_scorer_is_named_with_its_distribution(parts, tables, score, words):
    """A wrong number, a wrong type, an exception and an exit are errors of the plugin."""
    with pytest.raises(PluginError, match=f"{WHO}.*{words}"):
        scored(parts, tables, score)


def test_an_error_that_silmm_raises_on_purpose_stays_what_it_is(parts, tables):
    """A scorer that says what the user can do is not wrapped."""

    def score(candidates, judge):
        raise UsageError("give another option")

    with pytest.raises(UsageError, match="give another option"):
        scored(parts, tables, score)


def test_a_scorer_that_needs_no_answers_asks_nobody(parts, tables):
    """Without questions the model is never asked, and no candidate lacks a score for want of them."""
    prompts, sampled, _ = tables
    deaf = SimpleNamespace(yes_no=lambda images, questions: pytest.fail("asked"))
    scorer = SimpleNamespace(score=lambda candidates, judge: [float(c.images[0].mean()) for c in candidates])
    answers, scores, counts = score_candidates(
        RunJudge(deaf), scorer, prompts, sampled, None, scope=SCOPE, needs={"images"}
    )
    assert answers.num_rows == 0
    assert set(scores["status"].to_pylist()) == {"ok"}
    assert counts == {}


def test_a_judges_answers_are_probabilities_of_the_right_number():
    """The judge that scorers are lent checks shape and range; rounding of half precision passes."""

    def judge(*answers):
        return RunJudge(SimpleNamespace(yes_no=lambda images, questions: [np.array(answers)]))

    image, questions = np.zeros((2, 2, 3), np.uint8), [["is it?"]]
    assert judge([0.6, 0.405]).yes_no([image], questions)[0].shape == (1, 2)
    assert np.isnan(judge([math.nan, 0.5]).yes_no([image], questions)[0][0, 0])
    for answers in ([0.9, 0.9], [-0.1, 0.2]):
        with pytest.raises(PluginError, match=r"'is it\?'.*no probabilities"):
            judge(answers).yes_no([image], questions)
    with pytest.raises(PluginError, match=r"shape \(2, 2\); \(1, 2\) is asked"):
        judge([0.5, 0.5], [0.5, 0.5]).yes_no([image], questions)


# -------------------------------------------------------------------------------------------- pairs


def paired(parts, tables, made, *, scores=(0.9, 0.5, 0.1), sampled=None):
    prompts, candidates, _ = tables
    table = pa.Table.from_pylist([
        {"prompt_id": identity, "candidate": index, "score": score, "status": "ok" if score is not None else "x"}
        for identity in prompts["prompt_id"].to_pylist() for index, score in enumerate(scores)
    ])
    rule = SimpleNamespace(pairs=lambda candidates: made)
    return choose_pairs(
        rule, prompts, candidates if sampled is None else sampled, table, scope=SCOPE,
            who="The pair rule 'odd' of kit 1.0"
    )


def test_pairs_keep_their_weight_and_the_scores_of_both_sides(parts, tables):
    """What a rule gives a pair stands in its row, and reaches the trainer with the candidates' scores."""
    pairs, counts = paired(parts, tables, [Pair(0, 2, 2.5), Pair(0, 1)])
    rows = pairs.to_pylist()
    assert [(row["chosen"], row["rejected"], row["weight"]) for row in rows[:2]] == [(0, 2, 2.5), (0, 1, 1.0)]
    assert (rows[0]["chosen_score"], rows[0]["rejected_score"]) == (0.9, 0.1)
    assert counts == {}
    first, _ = preferences(pairs)
    assert first.pairs == ((0, 1), (0, 2))
    assert first.weights == (2.5, 1.0)
    assert first.scores == (0.9, 0.1, 0.5)


@pytest.mark.parametrize("apart", [0.0, 1e-15])
def test_equal_scores_are_no_preference(parts, tables, apart):
    """A pair whose scores differ by rounding alone is dropped and counted; the others stay."""
    pairs, counts = paired(parts, tables, [Pair(0, 1), Pair(0, 2)], scores=(0.5 + apart, 0.5, 0.1))
    assert [(row["chosen"], row["rejected"]) for row in pairs.to_pylist()] == [(0, 2)] * 2
    assert counts == {"equal-candidates": 2}


def test_equal_representations_are_no_preference(parts, tables):
    """Two candidates with the same tokens, or the same features, make no pair however they were scored."""
    _, sampled, _ = tables
    rows = sampled.to_pylist()
    for row in rows:
        row["z"] = [1] * 6 if row["candidate"] < 2 else [2] * 6
    tokens = pa.Table.from_pylist(rows, schema=sampled.schema)
    features = pa.Table.from_pylist(
        [row | {"z": None, "latent_id": "same" if row["candidate"] < 2 else "other"} for row in rows],
        schema=sampled.schema,
    )
    for table in (tokens, features):
        pairs, counts = paired(parts, tables, [Pair(0, 1), Pair(0, 2)], sampled=table)
        assert [row["rejected"] for row in pairs.to_pylist()] == [2, 2]
        assert counts == {"equal-candidates": 2}
    _, counts = paired(parts, tables, [Pair(0, 1)], sampled=tokens)
    assert counts == {"equal-candidates": 2, "prompts-without-pairs": 2}


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ([(0, 1)], "no silmm.contracts.candidates.Pair"),
        ([Pair(0, 0)], "not preferred to itself"),
        ([Pair(0, -1)], "the indices go from 0 to 2"),
        ([Pair(3, 0)], "the indices go from 0 to 2"),
        ([Pair(0.0, 1)], "are indices"),
        ([Pair(True, 0)], "are indices"),
        ([Pair(0, 1, 0.0)], "finite number above 0"),
        ([Pair(0, 1, -1.0)], "finite number above 0"),
        ([Pair(0, 1, math.nan)], "finite number above 0"),
        ([Pair(0, 1, math.inf)], "finite number above 0"),
        ([Pair(0, 1, "much")], "finite number above 0"),
        ([Pair(0, 1), Pair(0, 1, 2.0)], "a pair of 'a cat' twice"),
        (None, "failed while it paired the candidates of 'a cat': TypeError"),
    ],
)
def test_a_faulty_pair_rule_is_named_with_its_distribution(parts, tables, made, words):
    """Wrong types, a candidate with itself, indices from nowhere, and weights that mean nothing are refused."""
    with pytest.raises(PluginError, match=f"The pair rule 'odd' of kit 1.0.*{words}"):
        paired(parts, tables, made)


def test_an_unscored_candidate_is_in_no_pair(parts, tables):
    """A rule that picks a candidate without a score is refused, not trained on."""
    with pytest.raises(PluginError, match="without a score"):
        paired(parts, tables, [Pair(0, 1)], scores=(0.9, None, 0.1))


def test_a_rule_shows_before_the_run_whether_it_makes_pairs(parts):
    """Candidates with scores from 1 to -1 are enough to find out."""
    assert makes_pairs(parts.pair_rule, 4)
    assert not makes_pairs(SimpleNamespace(pairs=lambda candidates: []), 4)


# ------------------------------------------------------------------------------------- own pairs


def test_own_pairs_may_have_weights(tmp_path):
    """Column `weight` of a user's pairs reaches the trainer; without one every pair counts 1."""
    path = tmp_path / "pairs.jsonl"
    line = '{"prompt": "a", "chosen_z": [1], "rejected_z": [%d]%s}\n'
    path.write_text(line % (2, ', "weight": 3, "chosen_score": 0.5') + line % (3, ""))
    table = read_pairs(path)
    assert table.schema.equals(PAIRS)
    (preference,) = preferences(table)
    assert preference.weights == (3.0, 1.0)
    assert preference.scores == (0.5, None, None)


@pytest.mark.parametrize("weight", ["0", "-1", "NaN", "Infinity", '"much"'])
def test_own_weights_are_finite_and_above_0(tmp_path, weight):
    """Another weight is an error with the row's number."""
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"prompt": "a", "chosen_z": [1], "rejected_z": [2], "weight": ' + weight + "}\n")
    with pytest.raises(DataError, match=r"row 1: 'weight' is .*finite number above 0"):
        read_pairs(path)
