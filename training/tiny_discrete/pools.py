"""Scenes, captions and questions to train on, made once and kept as arrays in the work directory.

Captions come from the training split alone. The sampling captions are noisy on purpose, as web captions
are: attributes swap their objects, relations turn round, numbers are off by one. That is the gap between
what the model understands and what it samples, and the gap is what SILMM lives on; the clean captions of
VQA accuracy hold no such noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from silmm_benchmarks.shapes.facts import Fact, matching, parse_question
from silmm_benchmarks.shapes.language import CATEGORIES, Spec, caption
from silmm_benchmarks.shapes.scene_questions import sample_questions
from silmm_benchmarks.shapes.scene_sampling import random_scene, sample_scene
from silmm_benchmarks.shapes.splits import training_spec
from silmm_benchmarks.shapes.world import (
    COLORS,
    GRID,
    SHAPES,
    TEXTURES,
    Scene,
    blanked_mask,
    render,
)  # fmt: skip

QUESTIONS = 24
MENTIONS = 4
"""At most so many mentions in a caption."""
UNKNOWN = -1


@dataclass(frozen=True)
class Noise:
    """How often each kind of caption noise is tried on the sampling data.

    A try may change nothing: two mentions may have nothing to exchange, a new value may be the old one.
    """

    swap: float
    """Two mentions exchange one kind of attribute (or their numbers)."""
    reverse: float
    """A relation is replaced: turned round, or another one."""
    count: float
    """A number is off by one."""
    attribute: float
    """One attribute of one mention is another one."""


NOISE = Noise(swap=0.40, reverse=0.40, count=0.30, attribute=0.10)
"""What both embedded models misread captions by: enough that they sample about half of the facts right."""


def mutate(rng: np.random.Generator, spec: Spec, noise: Noise) -> Spec:
    """Return what the image shows when its caption, which says `spec`, is noisy."""
    mentions = list(spec.mentions)
    relations = spec.relations
    if len(mentions) >= 2 and rng.random() < noise.swap:
        i, j = rng.choice(len(mentions), 2, replace=False)
        fields = [
            f for f in ("color", "texture", "count")
            if getattr(mentions[i], f) != getattr(mentions[j], f)
        ]  # fmt: skip
        if fields:
            name = fields[int(rng.integers(len(fields)))]
            a, b = getattr(mentions[i], name), getattr(mentions[j], name)
            mentions[i] = replace(mentions[i], **{name: b})
            mentions[j] = replace(mentions[j], **{name: a})
    if relations and rng.random() < noise.reverse:
        (i, name, j), *_ = relations
        opposite = {"left": "right", "above": "below", "in front of": "behind"}
        opposite |= {v: k for k, v in opposite.items()}
        groups = (("left", "right", "above", "below"), ("in front of", "behind", "touching"))
        if name in opposite and rng.random() < 0.7:
            name = opposite[name]
        elif name != "inside":
            group = next(g for g in groups if name in g)
            name = group[int(rng.integers(len(group)))]
        else:
            name = "touching"
        relations = ((i, name, j),)
    if spec.category == "numeracy":
        for k, mention in enumerate(mentions):
            if rng.random() < noise.count:
                step = 1 if rng.random() < 0.5 else -1
                count = min(4, max(1, mention.count + step))
                if sum(m.count for m in mentions) - mention.count + count <= 5:
                    mentions[k] = replace(mention, count=count)
    if rng.random() < noise.attribute:
        k = int(rng.integers(len(mentions)))
        mention = mentions[k]
        choices = [f for f in ("color", "texture") if getattr(mention, f)] + ["shape"]
        name = choices[int(rng.integers(len(choices)))]
        values = {"color": COLORS, "texture": TEXTURES, "shape": SHAPES}[name]
        value = values[int(rng.integers(len(values)))]
        if name != "shape" or (not relations and value not in {m.shape for m in mentions}):
            mentions[k] = replace(mention, **{name: value})
    return Spec(spec.category, tuple(mentions), relations)


def patch_labels(scene: Scene) -> NDArray[np.int8]:
    """Return what covers each patch, (64, 5): shape, colour, texture (0 = nothing) and the offset, in
    half patches, from the patch's centre to the object's (x, then y)."""
    labels = np.zeros((GRID, GRID, 5), np.int8)
    for thing in scene.objects:
        cover = blanked_mask(thing.shape, thing.size)[::4, ::4]
        cx, cy = thing.center
        for dy, dx in np.argwhere(cover):
            x, y = thing.x + dx, thing.y + dy
            labels[y, x] = (
                1 + SHAPES.index(thing.shape), 1 + COLORS.index(thing.color),
                1 + TEXTURES.index(thing.texture),
                round(2 * (cx - x - 0.5)), round(2 * (cy - y - 0.5)),
            )  # fmt: skip
    return labels.reshape(-1, 5)


def question_objects(scene: Scene, fact: Fact) -> tuple[int | None, int | None]:
    """Return the objects a fact speaks of, each None unless exactly one fits."""
    first = matching(scene, fact.mention)
    second = matching(scene, fact.other) if fact.other is not None else []
    return (
        first[0] if len(first) == 1 else None,
        second[0] if len(second) == 1 else None,
    )


def covered(scene: Scene, indices: list[int]) -> int:
    """Return the visible patches of some objects as bits, patch 0 the lowest."""
    owner = np.full((GRID, GRID), -1)
    for number, thing in enumerate(scene.objects):
        cover = blanked_mask(thing.shape, thing.size)[::4, ::4]
        owner[thing.y : thing.y + thing.size, thing.x : thing.x + thing.size][cover] = number
    bits = np.isin(owner, indices).ravel()
    return int(sum(1 << int(i) for i in np.flatnonzero(bits)))


def understanding_pool(args: tuple[int, int]) -> dict[str, NDArray[np.generic]]:
    """Make (seed, count): images, patch labels, and QUESTIONS questions each with answers and places."""
    seed, count = args
    rng = np.random.default_rng([1, seed])
    images = np.zeros((count, 32, 32, 3), np.uint8)
    labels = np.zeros((count, 64, 5), np.int8)
    questions = np.zeros((count, QUESTIONS), "U96")
    answers = np.zeros((count, QUESTIONS), np.bool_)
    centres = np.full((count, QUESTIONS, 4), UNKNOWN, np.int8)  # twice the centres: x, y of both objects
    targets = np.zeros((count, QUESTIONS, 2), np.uint64)  # the patches that both mentions speak of
    for n in range(count):
        if rng.random() < 0.5:
            scene = random_scene(rng)
        else:
            scene = sample_scene(rng, training_spec(rng, CATEGORIES[int(rng.integers(8))]))
        images[n], labels[n] = render(scene), patch_labels(scene)
        for k, (text, answer) in enumerate(
            sample_questions(rng, scene, QUESTIONS, allow_held_out=False)
        ):
            questions[n, k], answers[n, k] = text, answer
            fact = parse_question(text)
            for slot, mention in enumerate((fact.mention, fact.other)):
                if mention is not None:
                    targets[n, k, slot] = covered(scene, matching(scene, mention))
            for slot, index in enumerate(question_objects(scene, fact)):
                if index is not None:
                    cx, cy = scene.objects[index].center
                    centres[n, k, 2 * slot : 2 * slot + 2] = round(2 * cx), round(2 * cy)
    return {
        "images": images, "labels": labels, "questions": questions,
        "answers": answers, "places": centres, "targets": targets,
    }  # fmt: skip


def image_pool(args: tuple[int, int, Noise]) -> dict[str, NDArray[np.generic]]:
    """Make (seed, count, noise): captions, their images, noise included, and each mention's patches."""
    seed, count, noise = args
    rng = np.random.default_rng([2, seed])
    images = np.zeros((count, 32, 32, 3), np.uint8)
    captions = np.zeros(count, "U128")
    owned = np.zeros((count, MENTIONS), np.uint64)
    done = 0
    while done < count:
        spec = training_spec(rng, CATEGORIES[int(rng.integers(8))])
        shown = mutate(rng, spec, noise)
        try:
            scene = sample_scene(rng, shown)
        except ValueError:  # the mutated spec has no layout, e.g. something inside a cross
            continue
        images[done], captions[done] = render(scene), caption(spec, rng)
        owned[done, : len(shown.mentions)] = [
            covered(scene, matching(scene, mention)) for mention in shown.mentions
        ]
        done += 1
    return {"images": images, "captions": captions, "owned": owned}


def make(kind: str, path: Path, jobs: list[tuple[object, ...]], workers: int = 2) -> Path:
    """Make a pool in `workers` processes and keep it at `path` (.npz); reuse it if it is there."""
    if not path.exists():
        worker = {"understanding": understanding_pool, "sampling": image_pool}[kind]
        with get_context("spawn").Pool(workers) as pool:
            parts = pool.map(worker, jobs, chunksize=1)  # type: ignore[arg-type]
        merged = {key: np.concatenate([p[key] for p in parts]) for key in parts[0]}
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, **merged)  # type: ignore[arg-type]
        partial.rename(path)
    return path
