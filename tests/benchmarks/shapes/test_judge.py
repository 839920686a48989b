"""The judge reads exact images exactly and bad images soberly."""

import time

import numpy as np
import pytest
from silmm_benchmarks.shapes.exact_judge import ExactJudge
from silmm_benchmarks.shapes.facts import atomic_facts, holds
from silmm_benchmarks.shapes.language import CATEGORIES, Mention, Spec, parse_caption
from silmm_benchmarks.shapes.scene_sampling import random_scene, sample_scene, sample_spec
from silmm_benchmarks.shapes.world import PALETTE, SHAPES, Object, Scene, render

LEAST_ACCURACY = 0.97
SCENES = 200


@pytest.fixture(scope="module")
def judge() -> ExactJudge:
    """Return one judge for all tests: it has no state but its templates."""
    return ExactJudge()


@pytest.mark.parametrize("category", CATEGORIES)
def test_facts_of_clean_images_are_right(judge: ExactJudge, category: str) -> None:
    """Of each category at least 97% of a scene's own facts and of another spec's are right."""
    rng = np.random.default_rng(0)
    specs = [sample_spec(rng, category) for _ in range(SCENES)]
    others = [sample_spec(rng, category) for _ in range(SCENES)]
    scenes = [sample_scene(rng, spec) for spec in specs]
    images = np.stack([render(scene) for scene in scenes])
    own = np.concatenate(judge.facts(images, specs))
    foreign = np.concatenate(judge.facts(images, others))
    truth = [
        holds(scene, fact)
        for scene, spec in zip(scenes, others, strict=True)
        for fact in atomic_facts(spec)
    ]
    assert own.mean() >= LEAST_ACCURACY
    assert (foreign == truth).mean() >= LEAST_ACCURACY


def test_free_scenes_are_parsed_exactly(judge: ExactJudge) -> None:
    """At least 97% of free scenes are read back object by object, textures and sizes included."""
    rng = np.random.default_rng(1)
    scenes = [random_scene(rng) for _ in range(500)]
    parsed = judge.parse(np.stack([render(scene) for scene in scenes]))
    same = [set(a.objects) == set(b.objects) for a, b in zip(scenes, parsed, strict=True)]
    assert np.mean(same) >= LEAST_ACCURACY


def test_noise_does_not_change_the_reading(judge: ExactJudge) -> None:
    """Pixel noise as strong as a poor decoder's leaves at least 97% of facts right."""
    rng = np.random.default_rng(2)
    specs = [sample_spec(rng, c) for c in CATEGORIES for _ in range(50)]
    images = np.stack([render(sample_scene(rng, spec)) for spec in specs]).astype(float)
    noisy = np.clip(images + rng.normal(0, 25, images.shape), 0, 255).astype(np.uint8)
    assert np.concatenate(judge.facts(noisy, specs)).mean() >= LEAST_ACCURACY


@pytest.mark.parametrize("shape", SHAPES)
def test_half_a_shape_does_not_count(judge: ExactJudge, shape: str) -> None:
    """A shape whose right half is missing is not taken for the whole one."""
    image = render(Scene((Object(shape, "red", "plain", 2, 2, 3),)))
    image[:, 14:] = 0
    spec = Spec("shape", (Mention(shape),))
    assert not judge.facts(image[None], [spec])[0].any()


def test_a_blot_is_no_object(judge: ExactJudge) -> None:
    """A few coloured pixels, and a whole image of one colour, hold no object."""
    blot = np.zeros((32, 32, 3), dtype=np.uint8)
    blot[8:11, 8:11] = PALETTE["red"]
    flood = np.full((32, 32, 3), PALETTE["red"], dtype=np.uint8)
    assert judge.parse(np.stack([blot, flood])) == [Scene(()), Scene(())]


def test_depth_is_read_from_who_is_seen(judge: ExactJudge) -> None:
    """The order of overlapping objects is found again."""
    rng = np.random.default_rng(3)
    spec = parse_caption("a red circle behind a blue square")
    images = np.stack([render(sample_scene(rng, spec)) for _ in range(20)])
    swapped = parse_caption("a red circle in front of a blue square")
    assert all(facts.all() for facts in judge.facts(images, [spec] * 20))
    assert not any(facts[-1] for facts in judge.facts(images, [swapped] * 20))


def test_no_images_give_no_scenes(judge: ExactJudge) -> None:
    """An empty batch is read as an empty list."""
    assert judge.parse(np.zeros((0, 32, 32, 3), dtype=np.uint8)) == []


def test_wrong_arrays_are_refused(judge: ExactJudge) -> None:
    """An array that is no batch of images raises and tells its shape; so do missing specs."""
    with pytest.raises(ValueError, match="float32"):
        judge.parse(np.zeros((1, 32, 32, 3), dtype=np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="16, 16"):
        judge.parse(np.zeros((1, 16, 16, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="0 specs"):
        judge.facts(np.zeros((1, 32, 32, 3), dtype=np.uint8), [])


def test_judging_is_fast(judge: ExactJudge) -> None:
    """At least 500 images are read per second of processor time."""
    rng = np.random.default_rng(4)
    images = np.stack([render(random_scene(rng)) for _ in range(500)])
    start = time.process_time()
    judge.parse(images)
    assert 500 / (time.process_time() - start) >= 500
