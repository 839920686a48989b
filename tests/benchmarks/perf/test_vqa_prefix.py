"""The comparison of Janus's answers compares like with like."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.perf import janus_random, vqa_prefix


@pytest.fixture(scope="module")
def model():
    """Janus at its smallest."""
    return vqa_prefix.random_model(janus_random.Sizes())


def test_both_ways_give_the_same_probabilities(model):
    """One pass over the image and one for each question agree, or the comparison would refuse."""
    row = vqa_prefix.compare(model, count=2, asked=5, repeats=2)
    assert row.items == 10
    assert {len(seconds) for seconds in row.seconds.values()} == {2}
    images = vqa_prefix.random_images(model, 2)
    answers = vqa_prefix.whole_passes(model, images, vqa_prefix.questions(5))
    assert len(np.unique(answers.round(9), axis=0)) == 10  # or one answer would do for all


def test_other_answers_are_refused(model, monkeypatch):
    """A way that answers other questions is not timed."""
    real = vqa_prefix.once
    monkeypatch.setitem(vqa_prefix.WAYS, "other", lambda m, images, asked: 1.01 * real(m, images, asked))
    with pytest.raises(RuntimeError, match="cannot be compared"):
        vqa_prefix.compare(model, count=1, asked=2, repeats=1)


def test_the_timed_sizes_are_januss():
    """The timed model sees a 384 pixel image as 576 tokens, and five questions are among its cases."""
    assert (vqa_prefix.SIZES.side // vqa_prefix.SIZES.patch) ** 2 == 576
    assert any(asked >= 5 for _, asked in vqa_prefix.CASES)
