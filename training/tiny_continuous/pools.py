"""Captions with the images that the decoder has to make: one for each value of its noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from silmm_benchmarks.shapes.language import CATEGORIES, Mention, Spec, caption
from silmm_benchmarks.shapes.scene_sampling import sample_scene
from silmm_benchmarks.shapes.splits import training_spec
from silmm_benchmarks.shapes.world import COLORS, RELATIONS, SHAPES, TEXTURES, Scene, render

MENTIONS = 4
"""The most mentions in a caption."""
LAYOUT_SLOTS = 12
SLOTS = 2 * MENTIONS + LAYOUT_SLOTS
LEVELS = 24
"""Values of a noise number; the world samples among 2, 3, 4 or 8 values, and 24 is a multiple of each."""
_PLAIN, _STRIPED = 20, 22
OPEN = (len(SHAPES), len(COLORS), len(TEXTURES), 4)
"""Labels of omissions in a caption: no such mention, no colour, no texture, no number."""


class Dial:
    """A random generator that returns the noise: each noise number stands for the middle of its share.

    The shares divide [0.1, 1): below 0.1 an object would shrink and take two more numbers, which shifts the meaning
    of all later ones. Decoders did not learn that; no object shrinks here.
    """

    def __init__(self, noise: NDArray[np.int64]) -> None:
        """Return these numbers in turn."""
        self._numbers = iter(noise)

    def random(self) -> float:
        """Return the next number in [0.1, 1).

        Raises:
            ValueError: the noise is used up.
        """
        number = next(self._numbers, None)
        if number is None:
            raise ValueError("the layout takes more numbers than the noise has")
        return 0.1 + 0.9 * (float(number) + 0.5) / LEVELS


def settle(spec: Spec, noise: NDArray[np.int64]) -> Spec:
    """Return the spec with open colours and textures filled in by the first 2 * MENTIONS noise numbers.

    Filled-in colours differ from all others; four out of five such textures are plain, as in the world.
    """
    taken = {m.color for m in spec.mentions if m.color}
    mentions: list[Mention] = []
    for mention, (hue, grain) in zip(spec.mentions, noise[: 2 * MENTIONS].reshape(-1, 2), strict=False):
        color, texture = mention.color, mention.texture
        if color is None:
            order = [COLORS[(int(hue) + i) % len(COLORS)] for i in range(len(COLORS))]
            color = next(c for c in order if c not in taken)
            taken.add(color)
        if texture is None:
            texture = TEXTURES[0 if grain < _PLAIN else 1 if grain < _STRIPED else 2]
        mentions.append(replace(mention, color=color, texture=texture))
    return replace(spec, mentions=tuple(mentions))


def scene_of(spec: Spec, noise: NDArray[np.int64]) -> Scene:
    """Return the scene of a spec under a noise of SLOTS numbers below LEVELS.

    Raises:
        ValueError: this noise has no scene.
    """
    dial: object = Dial(noise[2 * MENTIONS :])
    return sample_scene(dial, settle(spec, noise))  # type: ignore[arg-type]


def labels_of(spec: Spec) -> tuple[NDArray[np.int8], int]:
    """Return the labels of each mention, (MENTIONS, 4): shape, colour, texture, number; and of the relation."""
    labels = np.tile(np.array(OPEN, np.int8), (MENTIONS, 1))
    for row, mention in zip(labels, spec.mentions, strict=False):
        row[0] = SHAPES.index(mention.shape)
        row[1] = COLORS.index(mention.color) if mention.color else OPEN[1]
        row[2] = TEXTURES.index(mention.texture) if mention.texture else OPEN[2]
        row[3] = mention.count - 1
    relation = RELATIONS.index(spec.relations[0][1]) if spec.relations else len(RELATIONS)
    return labels, relation


def image_pool(args: tuple[int, int]) -> dict[str, NDArray[np.generic]]:
    """Make (seed, count): captions, noise, images and labels of the captions."""
    seed, count = args
    rng = np.random.default_rng([5, seed])
    images = np.zeros((count, 32, 32, 3), np.uint8)
    captions = np.zeros(count, "U128")
    noise = np.zeros((count, SLOTS), np.int64)
    labels = np.zeros((count, MENTIONS, 4), np.int8)
    relations = np.zeros(count, np.int8)
    done = 0
    while done < count:
        spec = training_spec(rng, CATEGORIES[int(rng.integers(8))])
        noise[done] = rng.integers(LEVELS, size=SLOTS)
        try:
            images[done] = render(scene_of(spec, noise[done]))
        except ValueError:  # two objects of equal colour would touch, or the layout takes too many numbers
            continue
        captions[done] = caption(spec, rng)
        labels[done], relations[done] = labels_of(spec)
        done += 1
    return {
        "images": images, "captions": captions, "noise": noise, "labels": labels, "relations": relations,
    }  # fmt: skip
