"""Captions are written and read by one grammar."""

import numpy as np
import pytest
from silmm_benchmarks.shapes.facts import atomic_facts, parse_question, question, statement
from silmm_benchmarks.shapes.language import (
    CATEGORIES,
    VOCABULARY,
    Mention,
    Spec,
    caption,
    detokenize,
    parse_caption,
    template_count,
    tokenize,
)
from silmm_benchmarks.shapes.scene_sampling import sample_spec


@pytest.mark.parametrize("category", CATEGORIES)
def test_captions_are_read_back_exactly(category: str) -> None:
    """Every wording of every spec parses to the spec it was written from."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        spec = sample_spec(rng, category)
        for template in range(template_count(category)):
            assert parse_caption(caption(spec, template)) == spec


@pytest.mark.parametrize("category", CATEGORIES)
def test_all_words_are_in_the_vocabulary(category: str) -> None:
    """Captions, statements and questions use the vocabulary only and survive tokenisation."""
    rng = np.random.default_rng(1)
    for _ in range(200):
        spec = sample_spec(rng, category)
        facts = atomic_facts(spec)
        texts = [caption(spec, rng), *map(statement, facts), *map(question, facts)]
        for text in texts:
            assert set(tokenize(text)) <= set(VOCABULARY)
            assert detokenize(tokenize(text)) == text


def test_vocabulary_is_small_and_without_repeats() -> None:
    """At most eighty different words are needed."""
    assert len(VOCABULARY) == len(set(VOCABULARY)) <= 80


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("a red circle", "color"),
        ("an orange ring and a blue square", "color"),
        ("a circle, a square and a ring", "shape"),
        ("a striped circle and a dotted square", "texture"),
        ("a circle on the left of a square", "spatial"),
        ("a red circle is above a blue square", "spatial"),
        ("a circle in front of a square", "3d_spatial"),
        ("three crosses", "numeracy"),
        ("two red circles and one square", "numeracy"),
        ("a circle inside a ring", "non_spatial"),
        ("a red circle touching a blue square", "non_spatial"),
        ("a red striped circle on the left of a blue square and a green ring", "complex"),
        ("the striped red circle is inside the blue square.", "complex"),
    ],
)
def test_examples_of_each_category(text: str, category: str) -> None:
    """The paper's wordings belong to the category they are meant for."""
    assert parse_caption(text).category == category


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "circle",
        "a orange ring",
        "an red circle",
        "A red circle",
        "a red circle.",
        "a red  circle",
        "a red blue circle",
        "a small circle",
        "two circle",
        "one circles",
        "five circles",
        "a circle a square",
        "a circle and",
        "a circle, and a square",
        "two circles and a square",
        "a circle left of a square",
        "a circle on the left of",
        "the circle is above the square.",
        "the circle above the square",
        "a circle above a square above a ring",
        "a photo of a red circle",
    ],
)
def test_text_outside_of_the_grammar_is_refused(text: str) -> None:
    """A prompt that no caption could be raises ValueError, however near it comes."""
    with pytest.raises(ValueError):
        parse_caption(text)


def test_facts_are_concepts_and_relations() -> None:
    """A caption splits into one fact per concept and one per relation."""
    spec = parse_caption("a red striped circle on the left of a blue square and a green ring")
    assert [statement(f) for f in atomic_facts(spec)] == [
        "a red striped circle",
        "a blue square",
        "a green ring",
        "the red striped circle is on the left of the blue square",
    ]


def test_counts_are_facts_of_their_own() -> None:
    """A caption of numbers asks for exact numbers."""
    facts = atomic_facts(parse_caption("two red circles and one square"))
    assert [question(f) for f in facts] == ["are there two red circles?", "is there one square?"]


def test_an_article_follows_its_word() -> None:
    """``an`` stands before a vowel only."""
    spec = Spec("color", (Mention("ring", "orange"), Mention("square", "red")))
    assert caption(spec) == "an orange ring and a red square"


@pytest.mark.parametrize("category", CATEGORIES)
def test_questions_are_read_back_exactly(category: str) -> None:
    """Every question parses to the fact it asks for."""
    rng = np.random.default_rng(2)
    for _ in range(200):
        for fact in atomic_facts(sample_spec(rng, category)):
            assert parse_question(question(fact)) == fact


@pytest.mark.parametrize(
    "text",
    ["", "is there a circle", "are there a circle?", "is there three circles?", "is the circle?"],
)
def test_other_questions_are_refused(text: str) -> None:
    """A question outside of the grammar raises ValueError."""
    with pytest.raises(ValueError):
        parse_question(text)
