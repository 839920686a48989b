"""A judge without a model: reads images back into scenes by analysis through synthesis.

Each patch is assigned to the palette colour that most of its pixels are nearest to. Per colour, one
matrix product compares the image with every shape at every size and position; the best template
is taken out and the rest compared again. Patches of other colours are "don't care" at a small
penalty: something may be hidden there. Facts are answered from the scene that results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from silmm_benchmarks.shapes.facts import atomic_facts, holds
from silmm_benchmarks.shapes.language import Spec
from silmm_benchmarks.shapes.world import (
    COLORS,
    CONTAINER,
    CONTAINERS,
    GRID,
    IMAGE_PX,
    LARGE,
    PALETTE,
    PATCH_PX,
    SHAPES,
    SMALL,
    TEXTURES,
    WHITE,
    Image,
    Object,
    Scene,
    blanked_mask,
    boxes_overlap,
    is_inside,
    shape_mask,
    texture_mask,
)

HIDDEN_PENALTY: Final = 0.1
"""Cost of a pixel that is only assumed to be hidden; without it small inner shapes are misread."""
MATCH_THRESHOLD: Final = 0.6
"""Score over visible area below which something is no object: half a shape does not count."""
_MIN_PIXELS: Final = 10
_MIN_PATCH_PIXELS: Final = 2
_MAX_PER_COLOR: Final = 6
_CHUNK: Final = 256

Floats = NDArray[np.float32]
Ints = NDArray[np.intp]
_BLACK_CLASS: Final = len(COLORS)
_WHITE_CLASS: Final = len(COLORS) + 1
_ANCHORS: Final = np.array([*(PALETTE[c] for c in COLORS), (0, 0, 0), WHITE], dtype=np.float32)


@dataclass(frozen=True)
class Templates:
    """All shapes at all sizes and positions.

    Attributes:
        keys: ``(shape, x, y, size)`` of each of the T templates.
        masks: pixels of each, ``float32[T, 1024]``.
gains: value of a coloured pixel, ``float32[T, 1024]``: +2 on the shape (one for being
            there and one for not being missed), -1 beside it up to one patch around, 0 elsewhere,
            where another object of the same colour may be.
        patch_areas: pixels in each patch, ``float32[T, 64]``.
        areas: pixels, ``float32[T]``.
    """

    keys: tuple[tuple[str, int, int, int], ...]
    masks: Floats
    gains: Floats
    patch_areas: Floats
    areas: Floats


def build_templates() -> Templates:
    """Return the templates of every shape, size and position of the world."""
    keys = []
    masks = []
    gains = []
    for size in (SMALL, LARGE, CONTAINER):
        for shape in CONTAINERS if size == CONTAINER else SHAPES:
            for y in range(GRID - size + 1):
                for x in range(GRID - size + 1):
                    mask = np.zeros((IMAGE_PX, IMAGE_PX), dtype=np.float32)
                    top, left, side = y * PATCH_PX, x * PATCH_PX, size * PATCH_PX
                    mask[top : top + side, left : left + side] = shape_mask(shape, size)
                    gain = np.zeros_like(mask)
                    gain[
                        max(0, top - PATCH_PX) : top + side + PATCH_PX,
                        max(0, left - PATCH_PX) : left + side + PATCH_PX,
                    ] = -1
                    gain[mask > 0] = 2
                    keys.append((shape, x, y, size))
                    masks.append(mask)
                    gains.append(gain)
    stack = np.stack(masks)
    patches = stack.reshape(-1, GRID, PATCH_PX, GRID, PATCH_PX).sum(axis=(2, 4))
    flat = stack.reshape(len(keys), -1)
    return Templates(
        tuple(keys),
        flat,
        np.stack(gains).reshape(len(keys), -1),
        patches.reshape(len(keys), -1),
        flat.sum(axis=1),
    )


def classify_pixels(images: Image) -> NDArray[np.intp]:
    """Return the nearest of eight colours, black (8) and white (9), ``int[N, 32, 32]``."""
    pixels = images.reshape(-1, 3).astype(np.float32)
    nearness = 2 * pixels @ _ANCHORS.T - (_ANCHORS**2).sum(axis=1)
    classes: NDArray[np.intp] = nearness.argmax(axis=1).reshape(images.shape[:3])
    return classes


def own_patches(classes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the colour most pixels of each patch have, ``int[N, 64]``; -1 when it has none."""
    n = len(classes)
    patches = classes.reshape(n, GRID, PATCH_PX, GRID, PATCH_PX).transpose(0, 1, 3, 2, 4)
    patches = patches.reshape(n * GRID * GRID, PATCH_PX * PATCH_PX)
    rows = np.arange(len(patches))[:, None] * (_WHITE_CLASS + 1)
    width = len(patches) * (_WHITE_CLASS + 1)
    counts = np.bincount((rows + patches).ravel(), minlength=width).reshape(len(patches), -1)
    lit = counts[:, _WHITE_CLASS] + counts[:, :_BLACK_CLASS].sum(axis=1)
    colored = counts[:, :_BLACK_CLASS]
    owned = (lit >= _MIN_PATCH_PIXELS) & (colored.max(axis=1) > 0)
    owner = np.where(owned, colored.argmax(axis=1), -1)
    return owner.reshape(n, GRID * GRID)


def _spread(patches: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Turn ``[M, 64]`` per patch into ``[M, 1024]`` per pixel."""
    grid = patches.reshape(-1, GRID, GRID).repeat(PATCH_PX, axis=1).repeat(PATCH_PX, axis=2)
    return grid.reshape(len(patches), IMAGE_PX * IMAGE_PX)  # -1 is ambiguous when there are none


@dataclass(frozen=True)
class _TemplateMatches:
    """Detections of one chunk: image, colour and template index of each, and its texture."""

    image: Ints
    color: Ints
    template: Ints
    texture: Ints


class ExactJudge:
    """Reads images of the world and answers its facts exactly, without any model.

    Args:
        threshold: least score over visible area for something to count as an object.
    """

    def __init__(self, threshold: float = MATCH_THRESHOLD) -> None:
        """Build the templates once; a judge has no other state."""
        self.threshold = threshold
        self.templates = build_templates()
        self._texture_masks = np.stack([texture_mask(t, GRID).ravel() for t in TEXTURES])

    def parse(self, images: Image) -> list[Scene]:
        """Return the scene in each image, objects from back to front.

        Args:
            images: ``uint8[N, 32, 32, 3]``.

        Raises:
            ValueError: when the array has another shape or type.
        """
        if images.dtype != np.uint8 or images.shape[1:] != (IMAGE_PX, IMAGE_PX, 3):
            raise ValueError(
                f"expected uint8[N, {IMAGE_PX}, {IMAGE_PX}, 3], "
                f"got {images.dtype}{list(images.shape)}"
            )
        scenes: list[Scene] = []
        for start in range(0, len(images), _CHUNK):
            scenes += self._parse_chunk(images[start : start + _CHUNK])
        return scenes

    def facts(self, images: Image, specs: Sequence[Spec]) -> list[NDArray[np.bool_]]:
        """Return for each image which of its spec's atomic facts hold, one bool per fact.

        Raises:
            ValueError: when there are not as many specs as images.
        """
        if len(images) != len(specs):
            raise ValueError(f"{len(images)} images but {len(specs)} specs")
        return [
            np.array([holds(scene, fact) for fact in atomic_facts(spec)], dtype=np.bool_)
            for scene, spec in zip(self.parse(images), specs, strict=True)
        ]

    def _parse_chunk(self, images: Image) -> list[Scene]:
        classes = classify_pixels(images)
        owners = own_patches(classes)
        matches = self._detect(classes.reshape(len(images), -1), owners)
        items: list[list[Object]] = [[] for _ in images]
        for image, color, template, texture in zip(
            matches.image.tolist(),
            matches.color.tolist(),
            matches.template.tolist(),
            matches.texture.tolist(),
            strict=True,
        ):
            shape, x, y, size = self.templates.keys[template]
            items[image].append(Object(shape, COLORS[color], TEXTURES[texture], x, y, size))
        return [Scene(order_by_depth(row, owner)) for row, owner in zip(items, owners, strict=True)]

    def _detect(self, classes: Ints, owners: Ints) -> _TemplateMatches:
        """Take the best template out of each (image, colour) until nothing is left."""
        present = (owners[:, :, None] == np.arange(_BLACK_CLASS)).any(axis=1)
        image, color = np.nonzero(present)
        own_patch = owners[image] == color[:, None]
        pixels = _spread(own_patch) & (classes[image] != _BLACK_CLASS)
        others = ((owners[image] >= 0) & ~own_patch).astype(np.float32)
        parts: list[tuple[Ints, Ints, Ints, Ints]] = []
        for _ in range(_MAX_PER_COLOR):
            alive = pixels.sum(axis=1) >= _MIN_PIXELS
            image, color, own_patch = image[alive], color[alive], own_patch[alive]
            pixels, others = pixels[alive], others[alive]
            if not len(image):
                break
            template, good = self._best(pixels, others)
            masks = self.templates.masks[template] > 0
            texture = self._texture(masks & _spread(own_patch), classes[image] == _WHITE_CLASS)
            image, color, own_patch = image[good], color[good], own_patch[good]
            parts.append((image, color, template[good], texture[good]))
            pixels, others = pixels[good] & ~masks[good], others[good]
        empty = np.zeros(0, dtype=np.intp)
        columns = [np.concatenate([empty, *(p[k] for p in parts)]) for k in range(4)]
        return _TemplateMatches(*columns)

    def _best(self, pixels: NDArray[np.bool_], others: Floats) -> tuple[Ints, NDArray[np.bool_]]:
        """Return the best template of each row and whether it is good enough."""
        t = self.templates
        hidden = others @ t.patch_areas.T
        score = pixels.astype(np.float32) @ t.gains.T - t.areas + (1 - HIDDEN_PENALTY) * hidden
        best = score.argmax(axis=1)
        rows = np.arange(len(best))
        visible = t.areas[best] - hidden[rows, best]
        good = score[rows, best] >= self.threshold * np.maximum(visible, _MIN_PIXELS)
        return best, good

    def _texture(self, visible: NDArray[np.bool_], white: NDArray[np.bool_]) -> Ints:
        """Return for each row the texture whose white pixels differ least from the visible ones."""
        errors = [((white ^ mask) & visible).sum(axis=1) for mask in self._texture_masks]
        least: Ints = np.stack(errors).argmin(axis=0)
        return least


def _covered_patches(item: Object) -> list[int]:
    """Return the flat indices of the patches an object's pixels are in."""
    grid = blanked_mask(item.shape, item.size)[::PATCH_PX, ::PATCH_PX]
    rows, columns = np.nonzero(grid)
    return [int((item.y + r) * GRID + item.x + c) for r, c in zip(rows, columns, strict=True)]


def _is_in_front(a: Object, b: Object, owners: NDArray[np.intp]) -> bool:
    """Return whether the patches both objects claim show ``a``, or ``a`` is inside ``b``."""
    if not boxes_overlap(a, b) or is_inside(a, b):
        return boxes_overlap(a, b)
    contested = set(_covered_patches(a)) & set(_covered_patches(b))
    shown = [COLORS[owners[p]] if owners[p] >= 0 else "" for p in contested]
    return shown.count(a.color) > shown.count(b.color)


def order_by_depth(items: list[Object], owners: NDArray[np.intp]) -> tuple[Object, ...]:
    """Sort objects from back to front by which one is visible where two overlap.

    Args:
        items: the objects of one image in any order.
        owners: colour index of each patch, ``int[64]``, -1 for none.
    """
    ordered: list[Object] = []
    for item in items:
        # Before the first object that is in front of this one, or at the end.
        position = next(
            (k for k, other in enumerate(ordered) if _is_in_front(other, item, owners)),
            len(ordered),
        )
        ordered.insert(position, item)
    return tuple(ordered)
