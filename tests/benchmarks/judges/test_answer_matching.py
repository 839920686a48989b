"""Answers are matched to choices by the official rule: mean pooling, L2, dot product, the first of equals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from silmm_benchmarks.judges.answer_matching import MpnetMatcher
from silmm_benchmarks.judges.options import MatcherOptions

from silmm.contracts.judges import AnswerMatcher
from silmm.errors import DataError

TEXTS = ["red", "a big red metal cube on the left", "blue dog", "two", "a car"]


@pytest.fixture(scope="module")
def matcher(tiny):
    """A tiny random MPNet from a folder of the real layout."""
    return MpnetMatcher.load(MatcherOptions(weights=str(tiny("mpnet")), device="cpu"))


def test_an_embedding_is_the_mean_over_its_own_tokens(matcher, tiny):
    """Pooling written out for one text, without padding, gives the row of the batch."""
    from transformers import AutoTokenizer, MPNetModel

    model = MPNetModel.from_pretrained(tiny("mpnet"), add_pooling_layer=False).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny("mpnet"))
    found = matcher.embed(TEXTS)
    for text, row in zip(TEXTS, found, strict=True):
        with torch.no_grad():
            mean = model(**tokenizer([text], return_tensors="pt")).last_hidden_state[0].mean(0).double()
        np.testing.assert_allclose(row, (mean / mean.norm()).numpy(), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-12)


def test_the_nearest_choice_is_the_largest_dot_product(matcher):
    """The index is the argmax of the products, and the answer itself is nearest where it is a choice."""
    vectors = dict(zip(TEXTS, matcher.embed(TEXTS), strict=True))
    expected = int(np.argmax([vectors[choice] @ vectors["red"] for choice in TEXTS[1:]]))
    assert matcher.match(["red", "two"], [TEXTS[1:], TEXTS]) == [expected, 3]
    assert isinstance(matcher, AnswerMatcher)


def test_the_first_of_equals_is_taken(matcher):
    """Choices that are read alike are told apart by their place alone."""
    assert matcher.match(["dog"], [["car", "dog", "Dog", "dog"]]) == [1]
    assert matcher.match([], []) == []


def test_a_question_without_choices_is_told(matcher):
    """There is nothing to match with, which is an error of the data."""
    with pytest.raises(DataError, match="'red' has no choices"):
        matcher.match(["red"], [[]])


def test_matching_does_not_depend_on_the_batch(tiny, matcher):
    """Embeddings in batches of one equal those in one batch of unequal lengths."""
    single = MpnetMatcher.load(MatcherOptions(weights=str(tiny("mpnet")), batch_size=1, device="cpu"))
    np.testing.assert_allclose(single.embed(TEXTS), matcher.embed(TEXTS), atol=1e-6)
