"""Sample captions' specs, scenes that satisfy them, and free scenes for VQA accuracy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from silmm_benchmarks.shapes.facts import atomic_facts, holds
from silmm_benchmarks.shapes.language import CATEGORIES, Mention, Spec
from silmm_benchmarks.shapes.object_placement import (
    Placement,
    free_placements,
    occlusion_offsets,
    pick,
    related_placements,
)
from silmm_benchmarks.shapes.world import (
    COLORS,
    CONTAINER,
    CONTAINERS,
    GRID,
    LARGE,
    SHAPES,
    SMALL,
    Object,
    Scene,
)

MAX_OBJECTS: Final = 5
_PLAIN: Final = 0.8
_SPATIAL: Final = ("left", "right", "above", "below")
_DEPTH: Final = ("in front of", "behind")
_CONTACT: Final = ("inside", "touching")
_COUNT_SAMPLES: Final = (1, 2, 2, 3, 3, 4, 4)


def _texture(rng: np.random.Generator) -> str:
    sample = rng.random()
    return "plain" if sample < _PLAIN else "striped" if sample < (1 + _PLAIN) / 2 else "dotted"


def _distinct(
    rng: np.random.Generator, options: tuple[str, ...], count: int, taken: tuple[str, ...] = ()
) -> list[str]:
    """Sample ``count`` different options outside of ``taken``."""
    left = [o for o in options if o not in taken]
    return [left.pop(int(rng.random() * len(left))) for _ in range(count)]


def _relation_shapes(rng: np.random.Generator, relation: str) -> tuple[str, str]:
    if relation == "inside":
        outer = pick(rng, CONTAINERS)
        return _distinct(rng, SHAPES, 1, (outer,))[0], outer
    first, second = _distinct(rng, SHAPES, 2)
    return first, second


def _pair_spec(rng: np.random.Generator, category: str, relations: tuple[str, ...]) -> Spec:
    relation = pick(rng, relations)
    shapes = _relation_shapes(rng, relation)
    colors = _distinct(rng, COLORS, 2) if rng.random() < 0.6 else [None, None]
    mentions = tuple(Mention(s, c) for s, c in zip(shapes, colors, strict=True))
    return Spec(category, mentions, ((0, relation, 1),))


def _numeracy_spec(rng: np.random.Generator) -> Spec:
    counts = [pick(rng, _COUNT_SAMPLES)]
    if rng.random() < 0.5:
        counts.append(1 + int(rng.random() * min(4, MAX_OBJECTS - counts[0])))
    shapes = _distinct(rng, SHAPES, len(counts))
    colored = rng.random() < 0.4
    colors = _distinct(rng, COLORS, len(counts)) if colored else [None] * len(counts)
    mentions = (Mention(s, c, None, n) for s, c, n in zip(shapes, colors, counts, strict=True))
    return Spec("numeracy", tuple(mentions))


def _complex_spec(rng: np.random.Generator) -> Spec:
    size = 2 if rng.random() < 0.5 else 3
    relations: tuple[tuple[int, str, int], ...] = ()
    shapes = _distinct(rng, SHAPES, size)
    if rng.random() < 0.8:
        relation = pick(rng, _SPATIAL + _DEPTH + _CONTACT)
        pair = _relation_shapes(rng, relation)
        shapes = [*pair, *_distinct(rng, SHAPES, size - 2, pair)]
        relations = ((0, relation, 1),)
    colors = _distinct(rng, COLORS, size)
    # "plain" occurs in texture captions only, as the contrast to the others.
    textures = [pick(rng, (None, None, "striped", "dotted")) for _ in range(size)]
    if not any(textures) and (size == 2 or not relations):
        textures[pick(rng, (0, 1))] = pick(rng, ("striped", "dotted"))
    mentions = tuple(Mention(s, c, t) for s, c, t in zip(shapes, colors, textures, strict=True))
    return Spec("complex", mentions, relations)


def _color_spec(rng: np.random.Generator) -> Spec:
    sample = rng.random()
    size = 1 if sample < 0.25 else 2 if sample < 0.85 else 3
    pairs = zip(_distinct(rng, SHAPES, size), _distinct(rng, COLORS, size), strict=True)
    return Spec("color", tuple(Mention(s, c) for s, c in pairs))


def _shape_spec(rng: np.random.Generator) -> Spec:
    sample = rng.random()
    size = 1 if sample < 0.05 else 2 if sample < 0.55 else 3
    return Spec("shape", tuple(Mention(s) for s in _distinct(rng, SHAPES, size)))


def _texture_spec(rng: np.random.Generator) -> Spec:
    shapes = _distinct(rng, SHAPES, 1 if rng.random() < 0.2 else 2)
    textures = ("plain", "striped", "striped", "dotted", "dotted")
    return Spec("texture", tuple(Mention(s, None, pick(rng, textures)) for s in shapes))


def sample_spec(rng: np.random.Generator, category: str) -> Spec:
    """Sample what a caption of the category says; all its mentions differ in shape.

    Raises:
        ValueError: when the category is unknown.
    """
    if category in _PAIR_RELATIONS:
        return _pair_spec(rng, category, _PAIR_RELATIONS[category])
    if category in _SAMPLERS:
        return _SAMPLERS[category](rng)
    raise ValueError(f"unknown category {category!r}; known: {', '.join(CATEGORIES)}")


_PAIR_RELATIONS: Final = {"spatial": _SPATIAL, "3d_spatial": _DEPTH, "non_spatial": _CONTACT}
_SAMPLERS: Final[dict[str, Callable[[np.random.Generator], Spec]]] = {
    "color": _color_spec,
    "shape": _shape_spec,
    "texture": _texture_spec,
    "numeracy": _numeracy_spec,
    "complex": _complex_spec,
}


def _dress(rng: np.random.Generator, mentions: tuple[Mention, ...]) -> list[tuple[str, str, str]]:
    """Return ``(shape, color, texture)`` of every object, with open attributes sampled.

    Different mentions get different colours where they are open; the objects of one count share
    theirs more often than not.
    """
    taken = tuple(m.color for m in mentions if m.color is not None)
    dressed = []
    for mention in mentions:
        color = mention.color or _distinct(rng, COLORS, 1, taken)[0]
        taken = (*taken, color)
        texture = mention.texture or _texture(rng)
        mixed = mention.count > 1 and mention.color is None and rng.random() < 0.25
        for _ in range(mention.count):
            shade = _distinct(rng, COLORS, 1, taken)[0] if mixed else color
            dressed.append((mention.shape, shade, texture))
    return dressed


def _placements(rng: np.random.Generator, spec: Spec, count: int) -> tuple[list[Placement], bool]:
    """Return one placement per object, and whether the first two are drawn in reverse order."""
    if not spec.relations:
        return free_placements(rng, count), False
    (i, relation, j), *more = spec.relations
    if more or (i, j) != (0, 1) or count not in (2, 3) or len(spec.mentions) != count:
        raise ValueError(f"no layout for {spec}: one relation of objects 0 and 1, and a third one")
    shapes = (spec.mentions[0].shape, spec.mentions[1].shape)
    if relation == "inside" and shapes[1] not in CONTAINERS:
        raise ValueError(f"nothing fits inside a {shapes[1]}; containers: {', '.join(CONTAINERS)}")
    return related_placements(rng, relation, shapes, count == 3), relation in ("in front of", "inside")


def sample_scene(rng: np.random.Generator, spec: Spec) -> Scene:
    """Sample a scene with the spec's objects and no others, in which all its facts hold.

    Raises:
        ValueError: when the world has no layout for the spec.
    """
    for _ in range(20):
        dressed = _dress(rng, spec.mentions)
        placements, reverse = _placements(rng, spec, len(dressed))
        items = [Object(*attributes, *placement) for attributes, placement in zip(dressed, placements, strict=True)]
        if reverse:
            items[0], items[1] = items[1], items[0]
        scene = Scene(tuple(items))
        if all(holds(scene, fact) for fact in atomic_facts(spec)) and colors_apart(scene):
            return scene
    raise ValueError(f"no scene of this world satisfies {spec}")


def colors_apart(scene: Scene) -> bool:
    """Return whether no two objects of one colour touch or overlap, corners included."""
    items = scene.objects
    return all(
        a.color != b.color
        or a.x > b.x + b.size
        or b.x > a.x + a.size
        or a.y > b.y + b.size
        or b.y > a.y + a.size
        for n, a in enumerate(items)
        for b in items[:n]
    )


def _box_bits(placement: Placement, margin: int) -> int:
    """Return the patches of a box, widened by a margin, as bits of a 64-bit number."""
    x, y, size = placement
    x0, x1 = max(0, x - margin), min(GRID, x + size + margin)
    row = ((1 << (x1 - x0)) - 1) << x0
    return sum(row << (GRID * v) for v in range(max(0, y - margin), min(GRID, y + size + margin)))


_ALL_PLACEMENTS: Final = {
    size: [(x, y, size) for y in range(GRID - size + 1) for x in range(GRID - size + 1)]
    for size in (SMALL, LARGE, CONTAINER)
}
_BITS: Final = {p: _box_bits(p, 0) for placements in _ALL_PLACEMENTS.values() for p in placements}
_WIDE_BITS: Final = {p: _box_bits(p, 1) for placements in _ALL_PLACEMENTS.values() for p in placements}


def _free_pair(rng: np.random.Generator, kind: str, shapes: list[str]) -> list[Placement]:
    """Return two placements (back, front) of a pair in contact, or none where they do not fit the image."""
    if kind == "inside":
        x, y, _ = outer = pick(rng, _ALL_PLACEMENTS[CONTAINER])
        return [outer, (x + 1, y + 1, SMALL)]
    x, y, size = back = pick(rng, _ALL_PLACEMENTS[LARGE])
    if kind == "occlude":
        dx, dy = pick(rng, occlusion_offsets(shapes[1], shapes[0], canonical=False))
    else:
        dx, dy = pick(rng, ((size, 0), (-size, 0), (0, size), (0, -size)))
    front = (x + dx, y + dy, LARGE)
    return [back, front] if front in _BITS else []


def _try_random_scene(rng: np.random.Generator) -> Scene | None:
    count = pick(rng, (1, 2, 2, 2, 3, 3, 3, 4, 4))
    shapes = [pick(rng, SHAPES) for _ in range(count)]
    if count > 1 and rng.random() < 0.3:  # some repetition, so that counts are worth asking for
        shapes[1:] = [shapes[0] if rng.random() < 0.7 else s for s in shapes[1:]]
    placements: list[Placement] = []
    if count > 1 and rng.random() < 0.6:
        kind = pick(rng, ("occlude", "inside", "touch"))
        if kind == "inside":
            shapes[0] = pick(rng, CONTAINERS)
        placements = _free_pair(rng, kind, shapes)
    occupied = 0
    for placement in placements:
        occupied |= _WIDE_BITS[placement]
    for _ in range(count - len(placements)):
        size = LARGE if rng.random() < (0.75 if count < 3 else 0.3) else SMALL
        free = [p for p in _ALL_PLACEMENTS[size] if not _BITS[p] & occupied]
        if not free:
            return None
        placements.append(pick(rng, free))
        occupied |= _WIDE_BITS[placements[-1]]
    items = (
        Object(shape, pick(rng, COLORS), _texture(rng), *placement)
        for shape, placement in zip(shapes, placements, strict=True)
    )
    scene = Scene(tuple(items))
    return scene if colors_apart(scene) else None


def random_scene(rng: np.random.Generator) -> Scene:
    """Sample 1-4 objects anywhere; most larger scenes have one pair in contact.

    All other objects keep a free patch between them.
    """
    while True:
        scene = _try_random_scene(rng)
        if scene is not None:
            return scene
