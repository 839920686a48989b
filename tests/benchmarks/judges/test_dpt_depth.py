"""Depth maps are those of the official script: 480 pixels, min-max, aligned corners, truncated to 8 bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from silmm_benchmarks.judges.dpt_depth import DptDepth, eight_bit
from silmm_benchmarks.judges.options import JudgeOptions

from silmm.contracts.judges import DepthJudge
from silmm.errors import DataError


@pytest.fixture(scope="module")
def judge(tiny):
    """A tiny random DPT-hybrid from a folder whose config says 384 pixels, as the published one."""
    return DptDepth.load(JudgeOptions(weights=str(tiny("dpt")), device="cpu"))


def test_a_map_is_normalised_then_truncated():
    """0..4 over four cells become 0, 63 (of 63.75), 127 (of 127.5), 255: Pillow's conversion truncates."""
    inverse = torch.tensor([[3.0, 4.0], [5.0, 7.0]])
    assert eight_bit(inverse, (2, 2)).tolist() == [[0, 63], [127, 255]]


def test_corners_stay_corners():
    """Resizing aligns corners: the four corners keep their values and the middle of an edge is the mean."""
    inverse = torch.tensor([[0.0, 1.0], [0.5, 0.25]])
    actual = eight_bit(inverse, (3, 5))
    assert actual.shape == (5, 3)
    assert actual[[0, 0, -1, -1], [0, -1, 0, -1]].tolist() == [0, 255, 127, 63]
    assert actual[0, 1] == 127


def test_a_flat_map_is_nothing_nearer():
    """Where all is equally far the map is 0, not NaN."""
    assert (eight_bit(torch.full((4, 4), 2.5), (7, 3)) == 0).all()


def test_a_map_that_is_not_finite_stops():
    """NaN is an error, never a number."""
    with pytest.raises(DataError, match="not finite"):
        eight_bit(torch.tensor([[0.0, float("nan")]]), (2, 1))


def test_maps_have_the_images_own_size_in_any_batch(judge, images):
    """Each map alone equals that in a batch, has its image's height and width, and spans 8 bit."""
    together = judge.depth(images)
    for image, depth in zip(images, together, strict=True):
        assert depth.shape == (image.height, image.width)
        (alone,) = judge.depth([image])
        assert np.abs(depth.astype(int) - alone.astype(int)).max() <= 1  # a value on the edge of truncation
        assert depth.max() > depth.min()
    assert isinstance(judge, DepthJudge)
    assert judge.identity["input"] == "480x480 bilinear"


def test_the_image_is_480_square_for_the_model(judge, images):
    """The model reads 480 x 480 without an aspect, although its config says 384."""
    shapes = []
    hook = judge._model.register_forward_pre_hook(
        lambda _, __, kwargs: shapes.append(tuple(kwargs["pixel_values"].shape)), with_kwargs=True
    )
    judge.depth(images[1:2])
    hook.remove()
    assert shapes == [(1, 3, 480, 480)]


def test_another_model_is_refused(tiny):
    """A folder of another architecture stops with its name, and no weight is sampled at random."""
    with pytest.raises(DataError, match=r"weights of DPTForDepthEstimation|cannot be loaded"):
        DptDepth.load(JudgeOptions(weights=str(tiny("vilt"))))
