"""Evaluation prompts are kept apart from training by combinations."""

from collections import Counter

import numpy as np
import pytest
from silmm_benchmarks import shapes
from silmm_benchmarks.shapes import (
    CATEGORIES,
    COLORS,
    SHAPES,
    TEXTURES,
    caption,
    contaminated,
    is_held_out,
    parse_caption,
    report_prompts,
    sample_scene,
    template_count,
    training_spec,
    tune_prompts,
)
from silmm_benchmarks.shapes.holdout import COLOR_SHAPE, COUNT_SHAPE, TEXTURE_SHAPE


def test_sizes_of_the_splits() -> None:
    """Tuning has 30 prompts of each category and the report 60."""
    assert Counter(p.category for p in tune_prompts()) == dict.fromkeys(CATEGORIES, 30)
    assert Counter(p.category for p in report_prompts()) == dict.fromkeys(CATEGORIES, 60)


def test_evaluation_prompts_are_distinct_in_text_and_meaning() -> None:
    """No text and no spec is used twice, within or across the splits."""
    prompts = tune_prompts() + report_prompts()
    assert len({p.text for p in prompts}) == len({p.spec for p in prompts}) == len(prompts)


def test_evaluation_prompts_are_held_out_and_drawable() -> None:
    """Each has a held-out combination, reads back to its spec, and can be drawn."""
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
        "a yellow diamond and a pink square",
        "a green square and a red cross",
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
        ("a red cross on a table", False),
        ("", False),
    ],
)
def test_contamination_of_single_texts(text: str, expected: bool) -> None:
    """A mirrored wording is as contaminated; text outside of the grammar never is."""
    assert contaminated(text) is expected


def test_contamination_ignores_case_and_spacing() -> None:
    """A report prompt is recognised however it is spaced or capitalised."""
    text = report_prompts()[0].text
    assert contaminated(f"  {text.upper().replace(' ', '  ')} ")


def test_all_names_are_exported() -> None:
    """``__all__`` is without repeats and true."""
    names = shapes.__all__
    assert len(names) == len(set(names))
    assert all(hasattr(shapes, name) for name in names)
