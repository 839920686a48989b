"""Which boxes go on, written out plainly from the specification, beside what the detector selects.

The plain way goes box by box in float32 numbers of Python and numpy and shares nothing with the detector's
own selection but the layout of its inputs.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from silmm_benchmarks.judges.unidet.boxes import Suppression
from silmm_benchmarks.judges.unidet.cascade import Stage, detections
from silmm_benchmarks.judges.unidet.proposals import Level, select

from tests.benchmarks.judges.unidet import recipe

Box = NDArray[np.float32]
F = np.float32
STRIDES = (8, 16, 32, 64, 128)
RULES: list[Suppression] = ["official", "exact"]


def plain_anchor(level: int, row: int, column: int, number: int) -> Box:
    octave, ratio = divmod(number, 3)
    side = 32 * 2**level * 2 ** (octave / 3)
    width = math.sqrt(side * side / (0.5, 1.0, 2.0)[ratio])
    height = (0.5, 1.0, 2.0)[ratio] * width
    x, y = column * STRIDES[level], row * STRIDES[level]
    return np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2], F)


def plain_decode(box: Box, delta: Box, weights: tuple[int, int, int, int] = (1, 1, 1, 1)) -> Box:
    dx, dy, dw, dh = (F(value) / F(weight) for value, weight in zip(delta, weights, strict=True))
    width, height = box[2] - box[0], box[3] - box[1]
    x, y = dx * width + (box[0] + F(0.5) * width), dy * height + (box[1] + F(0.5) * height)
    limit = F(math.log(1000 / 16))
    width, height = np.exp(min(dw, limit)) * width, np.exp(min(dh, limit)) * height
    half = F(0.5)
    return np.array([x - half * width, y - half * height, x + half * width, y + half * height], F)


def plain_clip(box: Box, height: int, width: int) -> Box:
    return np.array([min(max(v, F(0)), F(most)) for v, most in zip(box, (width, height) * 2, strict=True)], F)


def plain_overlap(box: Box, other: Box) -> float:
    wide = max(min(box[2], other[2]) - max(box[0], other[0]), F(0))
    high = max(min(box[3], other[3]) - max(box[1], other[1]), F(0))
    areas = [(side[2] - side[0]) * (side[3] - side[1]) for side in (box, other)]
    both = areas[0] + areas[1] - wide * high
    return float(wide * high / both) if both else math.nan  # of two empty boxes neither removes the other


def plain_nms(
    boxes: list[Box], scores: list[float], groups: list[int], threshold: float, rule: Suppression
) -> list[int]:
    """Return rows by falling score, equal ones in their order (docs/spec/unidet.md 8)."""
    if rule == "official" and 4 * len(boxes) <= 20000 and boxes:
        offset = max(float(box.max()) for box in boxes) + 1
        boxes = [box + F(group) * F(offset) for box, group in zip(boxes, groups, strict=True)]
        groups = [0] * len(boxes)
    kept: list[int] = []
    for row in sorted(range(len(boxes)), key=lambda index: -scores[index]):
        rivals = [k for k in kept if groups[k] == groups[row]]
        if not any(plain_overlap(boxes[k], boxes[row]) > threshold for k in rivals):
            kept.append(row)
    return kept


def plain_proposals(
    levels: list[Level], height: int, width: int, rule: Suppression
) -> tuple[list[Box], list[float]]:
    """Return boxes and logits (docs/spec/unidet.md 6)."""
    boxes, logits, groups = [], [], []
    for number, level in enumerate(levels):
        _, _, rows, columns = level.logits.shape
        positions = itertools.product(range(rows), range(columns), range(9))
        actual = [(float(level.logits[0, a, y, x]), y, x, a) for y, x, a in positions]
        for logit, y, x, a in sorted(actual, key=lambda row: -row[0])[:1000]:
            delta = level.deltas[0, 4 * a : 4 * a + 4, y, x].numpy()
            box = plain_clip(plain_decode(plain_anchor(number, y, x, a), delta), height, width)
            if box[2] > box[0] and box[3] > box[1]:
                boxes.append(box)
                logits.append(logit)
                groups.append(number)
    kept = plain_nms(boxes, logits, groups, 0.7, rule)[:1000]
    return [boxes[k] for k in kept], [logits[k] for k in kept]


def plain_detections(
    stages: list[Stage], height: int, width: int, rule: Suppression
) -> list[tuple[Box, float, int]]:
    """Return box, score and class of each detection (docs/spec/unidet.md 7)."""
    boxes, scores, classes = [], [], []
    for row in range(len(stages[0].logits)):
        parts = [stage.logits[row].sigmoid().numpy() for stage in stages]
        mean, box = (parts[0] + parts[1] + parts[2]) / F(3), stages[-1].decoded[row].numpy()
        if not (np.isfinite(box).all() and np.isfinite(mean).all()):
            continue
        for kind in range(722):
            if mean[kind] > 0.1:
                boxes.append(plain_clip(box, height, width))
                scores.append(float(mean[kind]))
                classes.append(kind)
    kept = plain_nms(boxes, scores, classes, 0.5, rule)[:300]
    return [
        (boxes[k], scores[k], classes[k]) for k in kept
        if boxes[k][2] > boxes[k][0] and boxes[k][3] > boxes[k][1]
    ]


def levels_of(seed: int, sides: tuple[int, ...], *, ties: bool = False) -> list[Level]:
    generator = torch.Generator().manual_seed(seed)
    made = []
    for side in sides:
        logits = torch.randn(1, 9, side, side + 1, generator=generator)
        deltas = torch.randn(1, 36, side, side + 1, generator=generator) * 0.4
        made.append(Level((logits * 4).round() / 4 if ties else logits, deltas))
    return made


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("sides", "ties"), [((14, 7, 4, 2, 1), False), ((14, 7, 4, 2, 1), True), ((1, 1, 1, 1, 1), False)],
    ids=["more than a level's 1000", "ties", "few"],
)
def test_proposals_are_those_of_the_plain_way(sides: tuple[int, ...], ties: bool, rule: Suppression) -> None:
    """Top 1000 of a level, clipping, empty boxes, suppression within levels: the same boxes in their order.

    Of equal logits the earlier anchor goes first; a level has at most 1000.
    """
    levels = levels_of(sum(sides), sides, ties=ties)
    height, width = 101, 93
    boxes, logits = select(levels, 0, height, width, rule)
    expected, own = plain_proposals(levels, height, width, rule)
    assert logits.tolist() == own
    np.testing.assert_allclose(boxes.numpy(), np.stack(expected), rtol=0, atol=2e-4)


def test_no_more_than_a_thousand_proposals() -> None:
    """Boxes that do not overlap are cut at the best 1000 of all levels."""
    levels = levels_of(1, (40, 20, 10, 5, 3))
    for level in levels:
        small = torch.tensor([0.0, 0.0, -2.0, -2.0]).repeat(9)  # where the anchors are
        level.deltas[:] = small[None, :, None, None]
    boxes, logits = select(levels, 0, 320, 320, "official")
    assert len(boxes) == 1000
    assert bool((logits.diff() <= 0).all())


def stages_of(seed: int, rows: int, bias: float, *, ties: bool = False) -> list[Stage]:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(rows, 2, generator=generator) * 110 - 5  # some are outside the image
    boxes = torch.cat([low, low + torch.rand(rows, 2, generator=generator) * 30], dim=1)
    boxes[::7, 2] = boxes[::7, 0]  # no width
    made = []
    for _ in range(3):
        logits = torch.randn(rows, 723, generator=generator) * 2 + bias
        made.append(Stage(boxes, logits.round() if ties else logits, torch.zeros(rows, 4), boxes))
    return made


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("rows", "bias", "ties"),
    [(30, -6.5, False), (40, -3.8, False), (18, -5.0, True), (5, -40.0, False), (0, 0.0, False)],
    ids=["below 300", "cut at 300", "ties", "no candidate", "no proposal"],
)
def test_detections_are_those_of_the_plain_way(
    rows: int, bias: float, ties: bool, rule: Suppression
) -> None:
    """Mean of sigmoids, threshold, suppression by class, 300, empty boxes: the same in the same order."""
    stages = stages_of(rows, rows, bias, ties=ties)
    actual = detections(stages, 101, 93, rule)
    expected = plain_detections(stages, 101, 93, rule)
    assert actual.classes.tolist() == [kind for _, _, kind in expected]
    np.testing.assert_allclose(actual.scores.numpy(), [score for _, score, _ in expected], rtol=0, atol=1e-6)
    assert actual.boxes.numpy().tolist() == [box.tolist() for box, _, _ in expected]


def test_rows_that_are_not_finite_and_the_background_are_left_out() -> None:
    """A box with NaN or infinity takes its row away, also where only the background's score is none."""
    stages = stages_of(3, 20, -3.0)
    stages[2].decoded[4, 1] = float("inf")
    stages[1].logits[5, 722] = float("nan")
    for stage in stages:
        stage.logits[:, 722] += 50.0
    actual, expected = detections(stages, 101, 93, "exact"), plain_detections(stages, 101, 93, "exact")
    assert actual.classes.tolist() == [kind for _, _, kind in expected]
    assert 722 not in actual.classes
    for row in (4, 5):
        own = torch.tensor(plain_clip(stages[2].boxes[row].numpy(), 101, 93))
        assert not bool((actual.boxes == own).all(1).any())


@pytest.mark.parametrize("size", [(479, 479), (480, 361), (77, 480)])
def test_the_benchmarks_sizes(size: tuple[int, int]) -> None:
    """At 479 pixels an image is padded to a multiple of 32 and its boxes end where it ends."""
    model = recipe.network(recipe.TINY_R50, stem_gain=0.02, cls_gain=0.6, cls_bias=-11.5)
    image = recipe.tensor(recipe.image("a", *size))
    padded = model.prepare([image])
    assert padded.shape[2:] == tuple(-(-side // 32) * 32 for side in size)
    actual = model([image])[0]
    assert len(actual.scores) <= 300
    assert actual.boxes[:, 2].max() <= size[1]
    assert actual.boxes[:, 3].max() <= size[0]
    again = model([image])[0]
    assert torch.equal(actual.scores, again.scores)
    assert torch.equal(actual.boxes, again.boxes)
