"""The world of shapes: objects on an 8x8 patch grid, their exact rendering and their relations.

Lengths are in patches (one patch = 4 px) unless a name says ``px``. An object in front blanks
every patch it has a pixel in before it is sampled. The dark rim this leaves keeps each 4x4 patch
down to one object, so the number of distinct patches stays small enough for a tiny tokenizer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

PATCH_PX: Final = 4
GRID: Final = 8
IMAGE_PX: Final = PATCH_PX * GRID

SHAPES: Final = ("circle", "square", "triangle", "cross", "ring", "diamond")
COLORS: Final = ("red", "green", "blue", "yellow", "orange", "purple", "pink", "cyan")
TEXTURES: Final = ("plain", "striped", "dotted")
RELATIONS: Final = (
    "left",
    "right",
    "above",
    "below",
    "in front of",
    "behind",
    "inside",
    "touching",
)
CONTAINERS: Final = ("square", "ring")
"""Shapes with room for a small object; the inner one leaves a four-pixel rim of them."""

SMALL: Final = 2
LARGE: Final = 3
CONTAINER: Final = 4

PALETTE: Final[dict[str, tuple[int, int, int]]] = {
    "red": (220, 30, 30),
    "green": (30, 160, 50),
    "blue": (40, 70, 230),
    "yellow": (240, 220, 40),
    "orange": (250, 130, 20),
    "purple": (130, 40, 170),
    "pink": (255, 130, 200),
    "cyan": (40, 210, 220),
}
WHITE: Final = (255, 255, 255)

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

# Ring holes: 2, 3 and 5 px of radius leave a clear hole in a small ring and a full 8 px of room
# in a container.
_RING_HOLE_PX: Final = {SMALL: 2.0, LARGE: 3.0, CONTAINER: 5.0}
_CROSS_ARM_PX: Final = {SMALL: 2, LARGE: 4, CONTAINER: 4}


@dataclass(frozen=True)
class Object:
    """One object: ``x``, ``y`` of its top-left corner and its ``size``, all in patches."""

    shape: str
    color: str
    texture: str
    x: int
    y: int
    size: int

    @property
    def center(self) -> tuple[float, float]:
        """Centre ``(x, y)`` in patches."""
        return self.x + self.size / 2, self.y + self.size / 2


@dataclass(frozen=True)
class Scene:
    """Objects in sampling order, from back to front."""

    objects: tuple[Object, ...]


@cache
def shape_mask(shape: str, size: int) -> Mask:
    """Return the pixels of a shape, ``bool[4 * size, 4 * size]``.

    Raises:
        ValueError: when the shape is unknown.
    """
    side = size * PATCH_PX
    half = side / 2
    axis = np.arange(side) + 0.5 - half
    x, y = np.meshgrid(axis, axis)
    mask: Mask
    radius = np.hypot(x, y)
    if shape == "square":
        mask = np.ones((side, side), dtype=np.bool_)
    elif shape == "circle":
        mask = radius <= half
    elif shape == "ring":
        mask = (radius <= half) & (radius >= _RING_HOLE_PX[size])
    elif shape == "diamond":
        mask = np.abs(x) + np.abs(y) <= half
    elif shape == "triangle":
        mask = 2 * np.abs(x) <= y + half + 0.5
    elif shape == "cross":
        arm = _CROSS_ARM_PX[size] / 2
        mask = (np.abs(x) <= arm) | (np.abs(y) <= arm)
    else:
        raise ValueError(f"unknown shape {shape!r}; known: {', '.join(SHAPES)}")
    mask.setflags(write=False)
    return mask


@cache
def blanked_mask(shape: str, size: int) -> Mask:
    """Return the pixels an object hides, ``bool[4 * size, 4 * size]``: all patches it touches."""
    patches = shape_mask(shape, size).reshape(size, PATCH_PX, size, PATCH_PX).any(axis=(1, 3))
    mask: Mask = np.kron(patches, np.ones((PATCH_PX, PATCH_PX), dtype=np.bool_))
    mask.setflags(write=False)
    return mask


@cache
def texture_mask(texture: str, size: int) -> Mask:
    """Return where a texture decodes white, ``bool[4 * size, 4 * size]``.

    Stripes take the inner two rows of every patch and dots its four corners: disjoint, so one
    can never be read as a part of the other, and both show on the thin arms of a small cross.
    """
    row = np.arange(size * PATCH_PX) % PATCH_PX
    inner = (row == 1) | (row == 2)
    if texture == "plain":
        mask = np.zeros((len(row), len(row)), dtype=np.bool_)
    elif texture == "striped":
        mask = np.repeat(inner[:, None], len(row), axis=1)
    elif texture == "dotted":
        mask = ~inner[:, None] & ~inner[None, :]
    else:
        raise ValueError(f"unknown texture {texture!r}; known: {', '.join(TEXTURES)}")
    return mask


@cache
def _sprite(shape: str, color: str, texture: str, size: int) -> tuple[Image, Mask]:
    """Return the pixels ``uint8[s, s, 3]`` of an object and where they replace the canvas."""
    mask = shape_mask(shape, size)
    pixels = np.zeros((*mask.shape, 3), dtype=np.uint8)
    pixels[mask] = PALETTE[color]
    pixels[mask & texture_mask(texture, size)] = WHITE
    return pixels, blanked_mask(shape, size)[..., None]


def render(scene: Scene) -> Image:
    """Sample a scene from back to front, ``uint8[32, 32, 3]`` on black."""
    canvas = np.zeros((IMAGE_PX, IMAGE_PX, 3), dtype=np.uint8)
    for item in scene.objects:
        pixels, replaced = _sprite(item.shape, item.color, item.texture, item.size)
        top, left, side = item.y * PATCH_PX, item.x * PATCH_PX, item.size * PATCH_PX
        np.copyto(canvas[top : top + side, left : left + side], pixels, where=replaced)
    return canvas


def boxes_overlap(a: Object, b: Object) -> bool:
    """Return whether two boxes share a patch."""
    return (
        a.x < b.x + b.size and b.x < a.x + a.size and a.y < b.y + b.size and b.y < a.y + a.size
    )


@cache
def hidden_fraction(front: tuple[str, int], back: tuple[str, int], dx: int, dy: int) -> float:
    """Return the share of the back shape's pixels that the front one hides.

    Args:
        front: shape and size of the front object.
        back: shape and size of the back object.
        dx: the front's left edge minus the back's, in patches.
        dy: the front's top edge minus the back's, in patches.
    """
    mask = shape_mask(*back)
    blank = blanked_mask(*front)
    x0, y0 = dx * PATCH_PX, dy * PATCH_PX
    rows = slice(max(0, y0), max(0, y0 + len(blank)))
    columns = slice(max(0, x0), max(0, x0 + len(blank)))
    under = mask[rows, columns]
    cover = blank[max(0, -y0) :, max(0, -x0) :][: under.shape[0], : under.shape[1]]
    return float((under & cover).sum() / mask.sum())


def hides(front: Object, back: Object) -> float:
    """Return the share of ``back``'s own pixels under the patches of ``front``."""
    if not boxes_overlap(front, back):
        return 0.0
    return hidden_fraction(
        (front.shape, front.size), (back.shape, back.size), front.x - back.x, front.y - back.y
    )


def is_inside(inner: Object, outer: Object) -> bool:
    """Return whether one box lies strictly within the other one."""
    return (
        outer.x < inner.x
        and outer.y < inner.y
        and inner.x + inner.size < outer.x + outer.size
        and inner.y + inner.size < outer.y + outer.size
    )


def boxes_touch(a: Object, b: Object) -> bool:
    """Return whether two boxes share a piece of an edge without sharing a patch."""
    across = min(a.x + a.size, b.x + b.size) - max(a.x, b.x)
    down = min(a.y + a.size, b.y + b.size) - max(a.y, b.y)
    return (across == 0 and down > 0) or (down == 0 and across > 0)


def dominance(a: Object, b: Object) -> float:
    """Return ``|dx| - |dy|`` of the centres: >0 speaks for left/right, <0 for above/below."""
    (ax, ay), (bx, by) = a.center, b.center
    return abs(ax - bx) - abs(ay - by)


def _direction(a: Object, b: Object) -> str | None:
    """Return on which side of ``b`` the object ``a`` stands; ``None`` on a diagonal."""
    (ax, ay), (bx, by) = a.center, b.center
    wide = dominance(a, b)
    if wide > 0:
        return "left" if ax < bx else "right"
    if wide < 0:
        return "above" if ay < by else "below"
    return None


def relates(scene: Scene, i: int, relation: str, j: int) -> bool:
    """Return whether object ``i`` stands in the relation to object ``j``.

    ``left`` asks for ``dx < 0`` and ``|dx| > |dy|``, as T2I-CompBench does. Something inside is
    not also in front: the two relations exclude each other.

    Raises:
        ValueError: when the relation is unknown.
    """
    a, b = scene.objects[i], scene.objects[j]
    if relation in ("left", "right", "above", "below"):
        return _direction(a, b) == relation
    if relation == "touching":
        return boxes_touch(a, b)
    if relation == "inside":
        return i > j and is_inside(a, b)
    if relation == "in front of":
        return i > j and hides(a, b) > 0 and not is_inside(a, b)
    if relation == "behind":
        return relates(scene, j, "in front of", i)
    raise ValueError(f"unknown relation {relation!r}; known: {', '.join(RELATIONS)}")
