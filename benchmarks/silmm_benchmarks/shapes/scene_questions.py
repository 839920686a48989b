"""Sample balanced yes/no questions about a scene, with hard negatives."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from silmm_benchmarks.shapes.facts import Fact, holds, matching, question
from silmm_benchmarks.shapes.holdout import is_fact_held_out
from silmm_benchmarks.shapes.language import Mention
from silmm_benchmarks.shapes.object_placement import pick
from silmm_benchmarks.shapes.world import (
    COLORS,
    RELATIONS,
    SHAPES,
    TEXTURES,
    Object,
    Scene,
    boxes_overlap,
    boxes_touch,
    dominance,
    relates,
)

_CLEAR: Final = 1.0
_SPATIAL: Final = ("left", "right", "above", "below")
_CONTACT: Final = ("in front of", "behind", "inside", "touching")
_TRIES: Final = 300


def _describe(rng: np.random.Generator, item: Object) -> Mention:
    """Name an object by its shape and some, all or none of its attributes."""
    level = int(rng.random() * 4)
    color = item.color if level in (1, 3) else None
    texture = item.texture if level in (2, 3) else None
    return Mention(item.shape, color, texture)


def _other(rng: np.random.Generator, options: tuple[str, ...], current: str) -> str:
    return pick(rng, [o for o in options if o != current])


def _change_one(rng: np.random.Generator, mention: Mention) -> Mention:
    """Replace one attribute, so that the rest of the description still fits something."""
    parts = ["shape", "color", "texture"]
    part = pick(rng, [p for p in parts if getattr(mention, p) is not None])
    if part == "shape":
        return replace(mention, shape=_other(rng, SHAPES, mention.shape))
    if part == "color":
        return replace(mention, color=_other(rng, COLORS, mention.color or ""))
    return replace(mention, texture=_other(rng, TEXTURES, mention.texture or ""))


def _existence(rng: np.random.Generator, scene: Scene, answer: bool) -> Fact:
    mention = _describe(rng, pick(rng, scene.objects))
    return Fact("existence", mention if answer else _change_one(rng, mention))


def _count(rng: np.random.Generator, scene: Scene, answer: bool) -> Fact:
    item = pick(rng, scene.objects)
    mention = Mention(item.shape, item.color if rng.random() < 0.3 else None)
    count = len(matching(scene, mention))
    if not answer:
        # Off by one is the hard negative; three in ten are further off.
        near = [n for n in (count - 1, count + 1) if 1 <= n <= 4]
        count = pick(rng, near if rng.random() < 0.7 else [n for n in range(1, 5) if n != count])
    return Fact("count", replace(mention, count=min(count, 4)))


def _refer(rng: np.random.Generator, scene: Scene, item: Object) -> Mention:
    """Name an object by as little as identifies it, and sometimes by its colour anyway."""
    bare = Mention(item.shape)
    if len(matching(scene, bare)) == 1 and rng.random() < 0.5:
        return bare
    return Mention(item.shape, item.color)


def _choose_pair(rng: np.random.Generator, scene: Scene) -> tuple[int, int]:
    """Sample two different objects, most often a pair in contact when there is one."""
    items = scene.objects
    pairs = [(i, j) for i in range(len(items)) for j in range(len(items)) if i != j]
    near = [(i, j) for i, j in pairs if boxes_overlap(items[i], items[j])]
    near = near or [(i, j) for i, j in pairs if boxes_touch(items[i], items[j])]
    return pick(rng, near if near and rng.random() < 0.7 else pairs)


def _wrong_relation(rng: np.random.Generator, contact: bool) -> str:
    """Sample a name as often as it is true, so that a relation's name does not give the answer."""
    return pick(rng, _CONTACT if rng.random() < (0.65 if contact else 0.05) else _SPATIAL)


def _relation(rng: np.random.Generator, scene: Scene, answer: bool) -> Fact | None:
    items = scene.objects
    i, j = _choose_pair(rng, scene)
    true = [name for name in RELATIONS if relates(scene, i, name, j)]
    rare = [name for name in true if name in _CONTACT]
    # Contact and depth are rarer than directions: ask for them whenever they are there.
    name = pick(rng, rare if rare and rng.random() < 0.8 else true) if true else None
    first, second = _refer(rng, scene, items[i]), _refer(rng, scene, items[j])
    if not answer:
        sample = rng.random()
        if name is None or sample < 0.5:  # the wrong relation of the right objects
            contact = boxes_overlap(items[i], items[j]) or boxes_touch(items[i], items[j])
            name = _wrong_relation(rng, contact)
        elif sample < 0.75:  # the right relation of the swapped objects
            first, second = second, first
        elif sample < 0.87:  # the right relation with one wrong attribute
            first = _change_one(rng, first)
        else:
            second = _change_one(rng, second)
    if name is None or first == second:
        return None
    if name in _SPATIAL and abs(dominance(items[i], items[j])) < _CLEAR:
        return None
    return Fact("relation", first, name, second)


def _sample_fact(rng: np.random.Generator, scene: Scene, answer: bool) -> Fact | None:
    sample = rng.random()
    if sample < 0.4 or (sample >= 0.6 and len(scene.objects) == 1):
        return _existence(rng, scene, answer)
    if sample < 0.6:
        return _count(rng, scene, answer)
    return _relation(rng, scene, answer)


def sample_questions(
    rng: np.random.Generator, scene: Scene, n: int, allow_held_out: bool = False
) -> list[tuple[str, bool]]:
    """Sample ``n`` questions about a scene with their exact answers, half of them yes.

    Args:
        rng: source of chance.
        scene: a scene with at least one object.
        n: how many questions; with an odd number either answer may have one more.
        allow_held_out: also ask for combinations that training prompts never hold.

    Raises:
        ValueError: the scene is empty or has no question of that kind.
    """
    if not scene.objects:
        raise ValueError("an empty scene has nothing to ask about")
    sampled: list[tuple[str, bool]] = []
    answer = bool(rng.random() < 0.5)
    for _ in range(n):
        for _ in range(_TRIES):
            fact = _sample_fact(rng, scene, answer)
            if fact is None or holds(scene, fact) != answer:
                continue
            if allow_held_out or not is_fact_held_out(fact):
                sampled.append((question(fact), answer))
                break
        else:
            # A scene of held-out combinations only has no fair yes: ask for an absent thing.
            fact = _absent(rng, scene, allow_held_out)
            sampled.append((question(fact), False))
        answer = not answer
    return sampled


def _absent(rng: np.random.Generator, scene: Scene, allow_held_out: bool) -> Fact:
    for _ in range(_TRIES):
        fact = Fact("existence", Mention(pick(rng, SHAPES), pick(rng, COLORS)))
        if not holds(scene, fact) and (allow_held_out or not is_fact_held_out(fact)):
            return fact
    raise ValueError(f"no question for {scene}")
