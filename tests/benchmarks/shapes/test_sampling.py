"""Sampled scenes and questions keep what they promise."""

from collections import Counter

import numpy as np
import pytest
from silmm_benchmarks.shapes.facts import atomic_facts, holds, parse_question
from silmm_benchmarks.shapes.holdout import is_fact_held_out
from silmm_benchmarks.shapes.language import CATEGORIES, Mention, Spec, parse_caption
from silmm_benchmarks.shapes.scene_questions import sample_questions
from silmm_benchmarks.shapes.scene_sampling import colors_apart, random_scene, sample_scene, sample_spec
from silmm_benchmarks.shapes.world import GRID, RELATIONS, Object, Scene, relates


def _in_the_image(scene: Scene) -> bool:
    return all(
        min(o.x, o.y) >= 0 and max(o.x + o.size, o.y + o.size) <= GRID for o in scene.objects
    )


@pytest.mark.parametrize("category", CATEGORIES)
def test_scenes_satisfy_their_spec(category: str) -> None:
    """A sampled scene has all facts of its spec, no further objects, and fits the image."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        spec = sample_spec(rng, category)
        scene = sample_scene(rng, spec)
        assert all(holds(scene, fact) for fact in atomic_facts(spec))
        assert len(scene.objects) == sum(m.count for m in spec.mentions) <= 5
        assert colors_apart(scene)
        assert _in_the_image(scene)


def test_scenes_of_one_spec_vary() -> None:
    """One caption is sampled in many ways, so that candidates differ."""
    rng = np.random.default_rng(0)
    spec = parse_caption("a red circle and a blue square")
    assert len({sample_scene(rng, spec) for _ in range(100)}) > 20


def test_a_spec_without_a_layout_is_refused() -> None:
    """What the world cannot sample raises instead of sampling something else."""
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="containers"):
        sample_scene(rng, parse_caption("a red ring inside a blue cross"))
    with pytest.raises(ValueError, match="1 to 5"):
        sample_scene(rng, parse_caption("four circles and three squares"))


def test_unknown_category_is_refused() -> None:
    """A category outside of the eight raises and names them."""
    with pytest.raises(ValueError, match="non_spatial"):
        sample_spec(np.random.default_rng(0), "style")


def test_random_scenes_hold_all_relations() -> None:
    """Free scenes show every relation, in legal images."""
    rng = np.random.default_rng(0)
    relations: Counter[str] = Counter()
    for _ in range(1500):
        scene = random_scene(rng)
        assert 1 <= len(scene.objects) <= 4
        assert colors_apart(scene)
        assert _in_the_image(scene)
        n = len(scene.objects)
        for i in range(n):
            for j in range(n):
                if i != j:
                    relations.update(r for r in RELATIONS if relates(scene, i, r, j))
    assert min(relations[name] for name in RELATIONS) >= 50


def test_questions_are_answered_exactly_and_in_balance() -> None:
    """Answers are those of the scene; half are yes, and no kind of question gives them away."""
    rng = np.random.default_rng(0)
    answers: dict[str, Counter[bool]] = {}
    for _ in range(3000):
        scene = random_scene(rng)
        for text, answer in sample_questions(rng, scene, 4, allow_held_out=True):
            fact = parse_question(text)
            assert holds(scene, fact) == answer
            answers.setdefault(fact.relation or fact.kind, Counter())[answer] += 1
    assert set(answers) == {"existence", "count", *RELATIONS}
    assert sum(c[True] for c in answers.values()) / 12_000 == pytest.approx(0.5, abs=0.02)
    for name, counted in answers.items():
        assert 0.33 <= counted[True] / counted.total() <= 0.67, name


def test_training_questions_avoid_held_out_combinations() -> None:
    """Unless allowed, no question has a combination that is held out for evaluation."""
    rng = np.random.default_rng(0)
    for _ in range(500):
        for text, _ in sample_questions(rng, random_scene(rng), 4):
            assert not is_fact_held_out(parse_question(text))


def test_an_empty_scene_has_no_questions() -> None:
    """Asking about nothing raises."""
    with pytest.raises(ValueError, match="empty"):
        sample_questions(np.random.default_rng(0), Scene(()), 1)


def test_counts_are_exact_and_relations_exist() -> None:
    """One object too many breaks a count; one fitting pair makes a relation true."""
    scene = Scene(
        (
            Object("circle", "red", "plain", 0, 0, 2),
            Object("circle", "blue", "plain", 5, 0, 2),
            Object("square", "green", "plain", 2, 4, 2),
        )
    )
    first = Spec("numeracy", (Mention("circle"),))
    second = Spec("numeracy", (Mention("circle", count=2),))
    assert [holds(scene, f) for s in (first, second) for f in atomic_facts(s)] == [False, True]
    assert holds(scene, parse_question("is the circle on the left of the circle?"))
    assert not holds(scene, parse_question("is the blue circle on the left of the circle?"))
