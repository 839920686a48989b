"""Promises of step 4: Eq. 1 by hand, the control of the seed alone, and scorers that look at images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from silmm_plugins.scoring.options import DualVqaScoreOptions, VqaScoreOptions
from silmm_plugins.scoring.scorers import RandomScore, diff_of_prob, ratio_of_yes
from silmm_plugins.scoring.vqascore import DualVqaScore, VqaScore

from silmm.contracts.candidates import Candidate, Prompt
from silmm.contracts.components import AnswerScorer
from silmm.engine.settings_resolution import resolve_settings
from silmm.registry.registry import Registry

ANSWERS = np.array([[0.9, 0.05], [0.2, 0.7], [0.4, 0.4]])


def candidate(index=0, *, answers=None, images=(), score_seed=0):
    return Candidate(Prompt("a red cat", "color"), index, index, score_seed, np.zeros(3), images, answers=answers)


def test_equation_1_by_hand() -> None:
    """(0.85 - 0.5 + 0) / 3."""
    assert diff_of_prob(ANSWERS) == pytest.approx(0.35 / 3)


def test_ratio_of_yes_counts_clear_yeses() -> None:
    """One of three is a yes; a tie is none."""
    assert ratio_of_yes(ANSWERS) == pytest.approx(1 / 3)


def test_a_function_of_the_answers_is_a_scorer() -> None:
    """The adapter averages over the decodes of a candidate and gives none where nothing was asked."""
    scorer = AnswerScorer(diff_of_prob)
    two_decodes = candidate(answers=np.stack([ANSWERS, np.array([[1.0, 0.0]] * 3)]))
    assert scorer.score([two_decodes, candidate()]) == [pytest.approx((0.35 / 3 + 1) / 2), None]


def test_random_depends_on_the_seed_alone() -> None:
    """Other answers, same seed: the same score; other seeds spread over [-1, 1)."""
    scorer = RandomScore()
    first, second = scorer.score([candidate(answers=ANSWERS[None], score_seed=7), candidate(score_seed=7)])
    assert first == second == np.random.default_rng(7).uniform(-1.0, 1.0)
    values = scorer.score([candidate(score_seed=seed) for seed in range(200)])
    assert len(set(values)) == 200
    assert abs(np.mean(values)) < 0.15
    assert -1 <= min(values) < -0.9 < 0.9 < max(values) < 1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 0.5), st.floats(0, 0.5)), min_size=1, max_size=8))
def test_scores_stay_in_range(rows: list[tuple[float, float]]) -> None:
    """Eq. 1 lies in [-1, 1], the ratio in [0, 1], whatever the answers."""
    answers = np.array(rows)
    assert -1 <= diff_of_prob(answers) <= 1
    assert 0 <= ratio_of_yes(answers) <= 1


class Bright:
    """Says yes by the brightness of the image and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def yes_no(self, images, questions):
        self.asked += [text for texts in questions for text in texts]
        return [np.array([[image.mean() / 255, 0.0]]) for image in images]


def images(*levels):
    return [np.full((2, 2, 3), level, np.uint8) for level in levels]


def test_vqascore_asks_about_the_whole_prompt() -> None:
    """p(yes) of one question with the prompt in it, the mean over the decodes."""
    judge = Bright()
    scorer = VqaScore(VqaScoreOptions())
    group = [candidate(0, images=images(0, 255)), candidate(1, images=images(51, 51))]
    assert scorer.score(group, judge) == [pytest.approx(0.5), pytest.approx(0.2)]
    assert set(judge.asked) == {'Does this figure show "a red cat"? Please answer yes or no.'}


@pytest.mark.parametrize(("mean", "expected"), [("geometric", np.sqrt(0.2 * 0.5)), ("arithmetic", 0.35)])
def test_the_dual_score_combines_the_whole_with_its_parts(mean: str, expected: float) -> None:
    """0.2 for the whole prompt and a mean of 0.5 over its questions, by either mean."""
    scorer = DualVqaScore(DualVqaScoreOptions(mean=mean))
    whole = candidate(answers=ANSWERS[None], images=images(51))
    assert scorer.score([whole], Bright()) == [pytest.approx(expected)]


def test_a_question_without_a_place_for_the_prompt_is_refused() -> None:
    """The template holds {} once."""
    for text in ("Is it good?", "{} or {}?"):
        with pytest.raises(ValidationError, match="does not hold"):
            VqaScoreOptions(question=text)


def test_the_embedded_models_ask_in_words_that_they_know() -> None:
    """Their defaults replace the template by the prompt with a question mark."""
    registry = Registry.load({"SILMM_LOAD_PLUGINS": "silmm"})
    for name in ("tiny-discrete", "tiny-continuous"):
        for scorer in ("vqascore", "vqascore-dual"):
            settings = resolve_settings(registry, flags={"model": name, "scorer": scorer, "benchmark": "none"})
            assert settings.options["scorer"]["question"] == "{}?"
