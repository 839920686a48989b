"""The operators give what the original ones gave, and what their definitions say."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from silmm_benchmarks.judges.unidet.backbones import AttentionBlock
from silmm_benchmarks.judges.unidet.boxes import (
    OFFSET_LIMIT,
    Suppression,
    cell_anchors,
    clip,
    decode,
    grid_anchors,
    grouped_nms,
    is_solid,
    overlaps,
)
from silmm_benchmarks.judges.unidet.pooling import levels_of, roi_align
from torch import Tensor

from tests.benchmarks.judges.unidet import recipe

CPU = torch.device("cpu")


@pytest.fixture
def recorded(goldens: Path) -> dict[str, Any]:
    """Give the outputs of the original operators."""
    return json.loads((goldens / "unidet/ops.json").read_text())


def close(actual: Tensor, expected: object, tolerance: float) -> None:
    torch.testing.assert_close(actual.float(), torch.tensor(expected).float(), rtol=0, atol=tolerance)


def test_recipe_is_the_recorded_one(recorded: dict[str, Any]) -> None:
    """The numbers and the image that the recipe makes are those of the recording."""
    probe = recorded["image_probe"]
    assert recipe.hash24("abc", 5).tolist() == probe["hash24('abc',5)"]
    assert zlib.crc32(recipe.image("a", 90, 120).tobytes()) == probe["image('a',90,120)_crc32"]


def test_anchors(recorded: dict[str, Any]) -> None:
    """Nine anchors a place, centred on the upper left corner of its cell, in the original order."""
    anchors = recorded["anchors"]
    close(cell_anchors(0), anchors["cell_anchors_p3_9x4"], 1e-5)
    close(cell_anchors(4), anchors["p7_cell"], 1e-4)
    grid = grid_anchors(0, 4, 4, CPU)
    close(grid[9:12], anchors["p3_grid4x4_rows_9..11"], 1e-5)
    close(grid[36:39], anchors["p3_rows_36..38_second_grid_row"], 1e-5)
    assert sum(len(grid_anchors(i, s, s, CPU)) for i, s in enumerate((60, 30, 15, 8, 4))) == 43_245


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (10, 10, 5, 5), (30, 30, 15, 15)])
def test_decoding(recorded: dict[str, Any], weights: tuple[float, float, float, float]) -> None:
    """Deltas move boxes as the original decoding does, the clamp of growth included."""
    case = recorded["decode"]
    name = "w1111" if weights[0] == 1 else "w" + "_".join(map(str, weights))
    decoded = decode(torch.tensor(case["deltas"]), torch.tensor(case["boxes"]), weights)
    torch.testing.assert_close(decoded, torch.tensor(case[name]), rtol=1e-6, atol=1e-5)


def test_levels(recorded: dict[str, Any]) -> None:
    """A box is pooled from the level of its size; one without area from p3."""
    case = recorded["levels"]
    boxes = torch.tensor([[0.0, 0.0, side, side] for side in case["square_side"]])
    assert levels_of(boxes).tolist() == case["level_index_0=p3"]


def test_roi_align(recorded: dict[str, Any]) -> None:
    """Pooling by two matrices gives the original operator's numbers, at borders and for empty boxes."""
    case = recorded["roi_align"]
    feature = torch.from_numpy(recipe.unit("roi/feat", (2, 2, 10, 12)))
    rois = torch.tensor(case["rois"])
    pooled = torch.stack([
        roi_align(feature[int(roi[0])], roi[None, 1:], case["scale"])[0] for roi in rois
    ])
    close(pooled[:, 0], case["out_channel0"], 2e-6)
    close(pooled[:, 1].sum((1, 2)), case["out_channel1_sum"], 2e-5)


def sampled(feature: np.ndarray, box: list[float], scale: float) -> np.ndarray:
    """Pool one box sample by sample, as the operator is defined."""
    channels, height, width = feature.shape
    x0, y0, x1, y1 = (value * scale - 0.5 for value in box)
    bin_y, bin_x = (y1 - y0) / 7, (x1 - x0) / 7
    rows, columns = int(np.ceil(bin_y)), int(np.ceil(bin_x))
    pooled = np.zeros((channels, 7, 7))
    for p, q, i, j in np.ndindex(7, 7, rows, columns):
        y, x = y0 + p * bin_y + (i + 0.5) * bin_y / rows, x0 + q * bin_x + (j + 0.5) * bin_x / columns
        if not (-1 <= y <= height and -1 <= x <= width):
            continue
        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
        top, left = int(y), int(x)
        below, right = min(top + 1, height - 1), min(left + 1, width - 1)
        down, over = y - top, x - left
        upper = feature[:, top, left] * (1 - over) + feature[:, top, right] * over
        lower = feature[:, below, left] * (1 - over) + feature[:, below, right] * over
        pooled[:, p, q] += (upper * (1 - down) + lower * down) / (rows * columns)
    return pooled


def test_roi_align_is_the_mean_of_its_samples() -> None:
    """For boxes of many sizes, some beyond the border, pooling is the mean of bilinear samples."""
    rng = np.random.default_rng(0)
    feature = rng.normal(size=(3, 9, 13)).astype(np.float32)
    low = rng.uniform(-20, 100, size=(40, 2))
    boxes = np.concatenate([low, low + rng.uniform(0, 90, size=(40, 2))], axis=1).astype(np.float32)
    pooled = roi_align(torch.from_numpy(feature), torch.from_numpy(boxes), 1 / 8).numpy()
    expected = np.stack([sampled(feature, box.tolist(), 1 / 8) for box in boxes])
    assert np.abs(pooled - expected).max() < 1e-5
    assert np.abs(expected).max() > 0.1


@pytest.mark.parametrize(
    ("rule", "name"), [("exact", "keep_per_class"), ("official", "keep_coordinate_offset")]
)
def test_both_suppressions(recorded: dict[str, Any], rule: Suppression, name: str) -> None:
    """The two ways of the original library keep other boxes of the same input, and so do our rules."""
    case = recorded["nms_0.5"]
    boxes, scores, groups = (torch.tensor(case[key]) for key in ("boxes", "scores", "classes"))
    assert grouped_nms(boxes, scores, groups, 0.5, rule).tolist() == case[name]


def one_by_one(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> list[int]:
    """Suppress greedily, a box at a time."""
    kept: list[int] = []
    for row in scores.argsort(descending=True, stable=True).tolist():
        rivals = [k for k in kept if groups[k] == groups[row]]
        if not rivals or not bool((overlaps(boxes[[row]], boxes[rivals]) > threshold).any()):
            kept.append(row)
    return kept


@pytest.mark.parametrize("count", [0, 1, 7, 300, 1300])
def test_suppression_is_the_greedy_one(count: int) -> None:
    """Blocks and rounds keep just what the greedy definition keeps, ties and long chains included."""
    rng = np.random.default_rng(count)
    low = rng.uniform(0, 300, size=(count, 2))
    boxes = torch.from_numpy(np.concatenate([low, low + rng.uniform(0, 60, size=(count, 2))], 1)).float()
    scores = torch.from_numpy(rng.integers(0, 50, count) / 50).float()
    groups = torch.from_numpy(rng.integers(0, 3, count))
    assert grouped_nms(boxes, scores, groups, 0.3, "exact").tolist() == one_by_one(boxes, scores, groups, 0.3)


def test_official_suppression_does_not_shift_many_boxes() -> None:
    """Above 20,000 coordinates the official rule is the exact one, as in the original library."""
    rng = np.random.default_rng(5)
    first = rng.uniform(0, 400, size=(OFFSET_LIMIT // 8, 2))
    second = first + np.stack([10 / 3 + rng.normal(0, 0.05, len(first)), np.zeros(len(first))], axis=1)
    low = np.concatenate([first, second, [[0.0, 0.0]]])  # pairs that overlap by about one half
    boxes = torch.from_numpy(np.concatenate([low, low + 10], axis=1)).float()
    scores = torch.from_numpy(rng.random(len(boxes))).float()
    groups = torch.from_numpy(np.concatenate([np.arange(len(first)) % 722] * 2 + [[0]]))
    kept = [grouped_nms(boxes, scores, groups, 0.5, rule).tolist() for rule in ("official", "exact")]
    assert kept[0] == kept[1]
    fewer = slice(0, OFFSET_LIMIT // 4)
    kept = [
        grouped_nms(boxes[fewer], scores[fewer], groups[fewer], 0.5, rule).tolist()
        for rule in ("official", "exact")
    ]
    assert kept[0] != kept[1]


def test_clipped_boxes_stay() -> None:
    """A box outside becomes empty, and its row stays."""
    boxes = clip(torch.tensor([[-9.0, -9.0, -1.0, -1.0], [5.0, 5.0, 300.0, 20.0]]), height=50, width=100)
    assert boxes.tolist() == [[0, 0, 0, 0], [5, 5, 100, 20]]
    assert is_solid(boxes).tolist() == [False, True]


@pytest.mark.parametrize("case", ["stride2_avd_avgdown", "stride1_identity"])
def test_split_attention_blocks(recorded: dict[str, Any], case: str) -> None:
    """A ResNeSt block has the original's parameter names and gives its numbers."""
    golden: Mapping[str, Any] = recorded["resnest_blocks"][case]
    facts = golden["kwargs"]
    widths = (facts[f"{name}_channels"] for name in ("in", "bottleneck", "out"))
    block = AttentionBlock(*widths, facts["stride"], counted=True)
    assert {name: list(value.shape) for name, value in block.state_dict().items()} == golden["keys"]
    block.load_state_dict(recipe.weights(golden["keys"]))
    tag = {"stride2_avd_avgdown": "blk1/x", "stride1_identity": "blk2/x"}[case]
    x = torch.from_numpy(recipe.unit(tag, (2, facts["in_channels"], 7, 10)))
    with torch.inference_mode():
        out = block(x)
        mixed = block.conv2(torch.relu(block.conv1(x)))
    close(mixed[0, 0], golden["split_attention_n0_c0"], 1e-5)
    assert list(out.shape) == golden["out"]["shape"]
    close(out[1, 0], golden["out_n1_c0"], 1e-5)
    close(out[1, 5], golden["out_n1_c5"], 1e-5)
