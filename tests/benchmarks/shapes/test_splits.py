"""Evaluation prompts are kept apart from training by combinations."""

import re
from collections import Counter

import numpy as np
import pytest
from silmm_benchmarks.shapes.holdout import (
    COLOR_SHAPE,
    COUNT_SHAPE,
    RELATION_SHAPES,
    SHAPE_SHAPE,
    TEXTURE_SHAPE,
    is_held_out,
    meaning,
)
from silmm_benchmarks.shapes.language import (
    CATEGORIES,
    COUNT_WORDS,
    PHRASES,
    PLURALS,
    caption,
    parse_caption,
    template_count,
)
from silmm_benchmarks.shapes.scene_sampling import sample_scene
from silmm_benchmarks.shapes.splits import contaminated, report_prompts, training_spec, tune_prompts
from silmm_benchmarks.shapes.world import COLORS, SHAPES, TEXTURES


def test_sizes_of_the_splits() -> None:
    """30 and 60 of each category, or a third and two thirds of all that it can mean."""
    few = {"shape": 6, "texture": 27}
    assert Counter(p.category for p in tune_prompts()) == dict.fromkeys(CATEGORIES, 30) | few
    twice = {name: 2 * count for name, count in few.items()}
    assert Counter(p.category for p in report_prompts()) == dict.fromkeys(CATEGORIES, 60) | twice


def test_evaluation_prompts_are_distinct_in_text_and_meaning() -> None:
    """No text and no meaning is used twice, within or across the splits."""
    prompts = tune_prompts() + report_prompts()
    assert len({p.text for p in prompts}) == len({meaning(p.spec) for p in prompts}) == len(prompts)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a ring, a diamond and a cross", "a cross, a ring and a diamond", True),
        ("a red ring and a blue cross", "a blue cross and a red ring", True),
        ("a red ring and a blue cross", "a blue ring and a red cross", False),
        ("a red ring on the left of a cross", "a cross is on the right of a red ring", True),
        ("a red ring on the left of a cross", "a cross on the left of a red ring", False),
        ("a ring touching a cross", "a cross is touching a ring", True),
        ("a ring behind a cross", "a ring in front of a cross", False),
        ("two rings and one cross", "one cross and two rings", True),
    ],
)
def test_a_meaning_has_many_wordings(one: str, other: str, *, same: bool) -> None:
    """Order and mirrored relations change nothing, whose attribute it is does."""
    assert (meaning(parse_caption(one)) == meaning(parse_caption(other))) is same


def test_evaluation_prompts_are_held_out_and_drawable() -> None:
    """Each has a held-out combination, reads back to its spec, and can be sampled."""
    rng = np.random.default_rng(0)
    for prompt in tune_prompts() + report_prompts():
        assert is_held_out(prompt.spec)
        assert contaminated(prompt.text)
        assert parse_caption(prompt.text) == prompt.spec
        assert prompt.category == prompt.spec.category
        sample_scene(rng, prompt.spec)


def test_splits_are_the_same_on_every_call() -> None:
    """The prompts are fixed, and changing a returned list changes no other one."""
    first = report_prompts()
    first.pop()
    assert len(report_prompts()) == len(first) + 1
    # Fixed texts: a change of the samplers that moves the prompts must not go unnoticed.
    assert [p.text for p in tune_prompts()[:2]] == [
        "an orange circle and a cyan cross",
        "a purple cross, a blue circle and a red ring",
    ]


@pytest.mark.parametrize("category", CATEGORIES)
def test_training_never_holds_a_held_out_combination(category: str) -> None:
    """No wording of a training spec is contaminated."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        spec = training_spec(rng, category)
        assert not is_held_out(spec)
        assert not any(contaminated(caption(spec, t)) for t in range(template_count(category)))


def test_training_still_sees_every_part() -> None:
    """Each shape is trained in most colours, textures and numbers; every colour has shapes."""
    rng = np.random.default_rng(0)
    specs = [training_spec(rng, c) for c in CATEGORIES for _ in range(1500)]
    mentions = {m for s in specs for m in s.mentions}
    pairs = {(m.color, m.shape) for m in mentions if m.color}
    assert pairs == {(c, s) for c in COLORS for s in SHAPES} - COLOR_SHAPE
    textures = {(m.texture, m.shape) for m in mentions if m.texture}
    assert textures == {(t, s) for t in TEXTURES for s in SHAPES} - TEXTURE_SHAPE
    counts = {(m.count, m.shape) for m in mentions}
    assert counts == {(n, s) for n in range(1, 5) for s in SHAPES} - COUNT_SHAPE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a red cross", True),
        ("a red cross and a blue circle", True),
        ("two diamonds", True),
        ("a circle and a cross", True),
        ("a circle on the left of a square", True),
        ("a square on the right of a circle", True),
        ("a square on the left of a circle", False),
        ("a red circle", False),
        ("The red circle.", False),
        ("a red circle and a blue ring!", False),
        ("a red circle on a table", False),
        ("a dog on a table", False),
        ("the red cross", True),
        ("a red cross on a table", True),
        ("a cross that is red", True),
        ("red-cross, please", True),
        ("2 diamonds", True),
        ("a circle , and a cross", True),
        ("a square to the right of a big circle", True),
        ("", False),
    ],
)
def test_contamination_of_single_texts(text: str, expected: bool) -> None:
    """A mirrored wording is as contaminated, and so is free text that names a combination."""
    assert contaminated(text) is expected


def test_contamination_ignores_case_and_spacing() -> None:
    """A report prompt is recognised however it is spaced or capitalised."""
    text = report_prompts()[0].text
    assert contaminated(f"  {text.upper().replace(' ', '  ')} ")


DRESSES = (
    *("{}.", "{}!", "{},", "{}?", "{} .", "“{}”", "'{}'", "({})", "- {}", "**{}**", "{}…", "__{}__"),
    *("{} on a table", "sample {} for me", "please: {}", "{}, and nothing else"),
)
"""Ways to write a prompt that leave what it says."""


@pytest.mark.parametrize("dress", DRESSES)
def test_no_dress_hides_an_evaluation_prompt(dress: str) -> None:
    """Punctuation, quotes and words around an evaluation prompt, or "the" for "a", hide none."""
    hidden = []
    for prompt in tune_prompts() + report_prompts():
        text = dress.format(prompt.text)
        definite = re.sub(r"\ban? ", "the ", text)
        hidden += [wording for wording in (text, definite) if not contaminated(wording)]
    assert hidden == []


@pytest.mark.parametrize("dress", DRESSES[:12])
def test_punctuation_around_a_training_prompt_excludes_none(dress: str) -> None:
    """A training caption stays one with punctuation or quotes around it."""
    rng = np.random.default_rng(0)
    texts = [caption(training_spec(rng, c), rng) for c in CATEGORIES for _ in range(40)]
    assert [text for text in texts if contaminated(dress.format(text))] == []


def test_free_text_with_the_words_of_a_combination_is_excluded() -> None:
    """Held-out words among others, in any order and number, never pass."""
    rng = np.random.default_rng(0)
    filler = ["my", "old", "house", "is", "a", "next", "to", "big", "dog", "circle", "and", "wood"]
    held_out = [*COLOR_SHAPE, *TEXTURE_SHAPE, *SHAPE_SHAPE]
    held_out += [(COUNT_WORDS[n - 1], shape) for n, shape in COUNT_SHAPE]
    held_out += [(PHRASES[name], a, b) for name, a, b in RELATION_SHAPES]
    passed = []
    for words in held_out:
        for plural in (False, True):
            named = [PLURALS[w] if plural and w in PLURALS else w for w in words]
            text = " ".join(rng.permutation([*named, *rng.choice(filler, 4)]))
            passed += [text] if not contaminated(text) else []
    assert passed == []
