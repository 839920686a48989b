"""What the images of the world look like and what relates objects."""

import itertools

import numpy as np
import pytest
from silmm_benchmarks.shapes.language import CATEGORIES
from silmm_benchmarks.shapes.object_placement import occlusion_offsets
from silmm_benchmarks.shapes.scene_sampling import random_scene, sample_scene, sample_spec
from silmm_benchmarks.shapes.world import (
    COLORS,
    LARGE,
    PALETTE,
    RELATIONS,
    SHAPES,
    TEXTURES,
    Object,
    Scene,
    hidden_fraction,
    relates,
    render,
    shape_mask,
)


def _pair(a: Object, b: Object) -> Scene:
    return Scene((a, b))


def _item(x: int, y: int, size: int = 3, shape: str = "square", color: str = "red") -> Object:
    return Object(shape, color, "plain", x, y, size)


def test_render_is_a_small_rgb_image_on_black() -> None:
    """An empty scene is a black uint8 image of 32x32 pixels."""
    image = render(Scene(()))
    assert image.shape == (32, 32, 3)
    assert image.dtype == np.uint8
    assert not image.any()


def test_render_paints_the_object_where_it_stands() -> None:
    """A plain square fills its box with its colour and nothing else."""
    image = render(Scene((_item(1, 2, 2),)))
    assert (image[8:16, 4:12] == PALETTE["red"]).all()
    assert image.any(axis=2).sum() == 64


def test_front_object_hides_the_back_one() -> None:
    """Where two boxes overlap the later object of a scene is visible."""
    image = render(_pair(_item(0, 0), _item(1, 1, color="blue")))
    assert tuple(image[6, 6]) == PALETTE["blue"]


def test_palette_is_well_separated() -> None:
    """Colours differ clearly from each other and from black and white."""
    anchors = np.array([*PALETTE.values(), (0, 0, 0), (255, 255, 255)], dtype=float)
    gaps = [np.linalg.norm(a - b) for a, b in itertools.combinations(anchors, 2)]
    assert min(gaps) > 70


@pytest.mark.parametrize("size", [2, 3])
def test_no_two_renderings_are_alike(size: int) -> None:
    """Each shape in each texture gives an image of its own, at small size too."""
    patches = {
        render(Scene((Object(shape, "red", texture, 1, 1, size),))).tobytes()
        for shape in SHAPES
        for texture in TEXTURES
    }
    assert len(patches) == len(SHAPES) * len(TEXTURES)


@pytest.mark.parametrize(("a", "b"), list(itertools.combinations(SHAPES, 2)))
def test_masks_of_two_shapes_differ_by_more_than_noise(a: str, b: str) -> None:
    """Any two shapes of one size differ in at least eight pixels."""
    for size in (2, 3):
        assert (shape_mask(a, size) ^ shape_mask(b, size)).sum() >= 8


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (_item(0, 2), _item(5, 3), {"left"}),
        (_item(5, 3), _item(0, 2), {"right"}),
        (_item(2, 0), _item(3, 5), {"above"}),
        (_item(3, 5), _item(2, 0), {"below"}),
        (_item(0, 0), _item(4, 4), set()),
        (_item(0, 0), _item(3, 1), {"left", "touching"}),
        (_item(0, 0), _item(3, 3), set()),
        (_item(0, 0), _item(2, 0), {"left", "behind"}),
        (_item(2, 2, 4), _item(3, 3, 2), set()),
    ],
)
def test_relations_of_the_first_to_the_second(
    first: Object, second: Object, expected: set[str]
) -> None:
    """Directions follow the dominant axis, depth the sampling order, contact the boxes."""
    scene = _pair(first, second)
    assert {name for name in RELATIONS if relates(scene, 0, name, 1)} == expected


def test_inside_is_not_also_in_front() -> None:
    """An object within a container is inside of it and in no other relation to it."""
    scene = _pair(_item(2, 2, 4), _item(3, 3, 2, color="blue"))
    assert {name for name in RELATIONS if relates(scene, 1, name, 0)} == {"inside"}


def test_unknown_relation_is_refused() -> None:
    """A relation outside of the world raises and names those that exist."""
    with pytest.raises(ValueError, match="touching"):
        relates(_pair(_item(0, 0), _item(4, 4)), 0, "near", 1)


def test_hidden_objects_stay_recognisable() -> None:
    """Any object in front leaves at least 40% of the object behind visible."""
    for front, back in itertools.product(SHAPES, repeat=2):
        offsets = occlusion_offsets(front, back, canonical=False)
        assert offsets
        for dx, dy in offsets:
            assert 0.15 <= hidden_fraction((front, LARGE), (back, LARGE), dx, dy) <= 0.6


def test_distinct_patches_stay_few() -> None:
    """Twenty thousand scenes hold at most 1,500 different 4x4 patches."""
    rng = np.random.default_rng(0)
    scenes = [sample_scene(rng, sample_spec(rng, c)) for c in CATEGORIES for _ in range(1250)]
    scenes += [random_scene(rng) for _ in range(10_000)]
    # A random weighted sum tells patches apart as well as their bytes, and sorts far faster.
    weights = rng.integers(1, 2**60, size=48)
    calls: set[int] = set()
    for start in range(0, len(scenes), 2000):
        images = np.stack([render(s) for s in scenes[start : start + 2000]])
        patches = images.reshape(-1, 8, 4, 8, 4, 3).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 48)
        calls |= set(np.unique(patches.astype(np.int64) @ weights).tolist())
    assert len(calls) > 500
    assert len(calls) <= 1500


def test_all_colors_are_sampled() -> None:
    """Free scenes show every colour and every shape."""
    rng = np.random.default_rng(0)
    items = [item for _ in range(300) for item in random_scene(rng).objects]
    assert {i.color for i in items} == set(COLORS)
    assert {i.shape for i in items} == set(SHAPES)
