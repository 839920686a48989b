"""The detector by itself: sizes, batches, empty results and numbers that are none."""


import pytest
import torch
from silmm_benchmarks.judges.unidet import cascade
from silmm_benchmarks.judges.unidet.architecture import R50, RS200, Architecture
from silmm_benchmarks.judges.unidet.cascade import Found
from silmm_benchmarks.judges.unidet.network import UniDet

from silmm.errors import DataError
from tests.benchmarks.judges.unidet import recipe

RECIPE = {"stem_gain": 0.02, "cls_gain": 0.6, "cls_bias": -11.5}


@pytest.fixture(scope="module")
def model() -> UniDet:
    """Give the narrow R50."""
    return recipe.network(recipe.TINY_R50, **RECIPE)


def images(*tags: str, size: tuple[int, int] = (90, 120)) -> list[torch.Tensor]:
    return [recipe.tensor(recipe.image(tag, *size)) for tag in tags]


def assert_same(detection: Found, other: Found) -> None:
    assert detection.classes.tolist() == other.classes.tolist()
    torch.testing.assert_close(detection.boxes, other.boxes, rtol=0, atol=5e-4)
    torch.testing.assert_close(detection.scores, other.scores, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "tensors", "numbers", "counters"),
    [(R50, 311, 71_954_034, 0), (RS200, 1944, 120_709_842, 273)],
)
def test_size(network: Architecture, tensors: int, numbers: int, counters: int) -> None:
    """The networks have as many tensors, numbers and counters as the official files."""
    with torch.device("meta"):
        state = UniDet(network).state_dict()
    floats = [value for value in state.values() if value.is_floating_point()]
    assert (len(state), len(state) - len(floats)) == (tensors, counters)
    assert sum(value.numel() for value in floats) == numbers


def test_images_of_one_size_do_not_see_each_other(model: UniDet) -> None:
    """In a batch of one size each image's detections are those that it has alone."""
    batch = model(images("a", "b", "c"))
    for tag, item in zip("abc", batch, strict=True):
        assert_same(item, model(images(tag))[0])
    assert len(batch[0].scores) != len(batch[1].scores)


def test_a_larger_neighbour_pads_an_image(model: UniDet) -> None:
    """As in the official code a smaller image of a batch gets more zeros, which its features show."""
    small, large = images("a", size=(60, 60)), images("b", size=(120, 120))
    assert model.prepare(small).shape == (1, 3, 64, 64)
    both = model.prepare([*small, *large])
    assert both.shape == (2, 3, 128, 128)
    assert not both[0, :, 60:].any()
    alone, padded = model.backbone(model.prepare(small))[0], model.backbone(both)[0]
    assert not torch.allclose(alone[0], padded[0, :, :8, :8], atol=1e-3)


def test_chunks_of_boxes_change_nothing(model: UniDet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of boxes that go through a head at once does not matter."""
    whole = model(images("a"))[0]
    monkeypatch.setattr(cascade, "CHUNK", 17)
    assert_same(model(images("a"))[0], whole)


def test_nothing_found() -> None:
    """An image without candidates has empty detections of the right shapes."""
    silent = recipe.network(recipe.TINY_R50, stem_gain=0.02, cls_gain=0.6, cls_bias=-60)
    actual = silent(images("a"))[0]
    assert (actual.boxes.shape, actual.scores.shape, actual.classes.shape) == ((0, 4), (0,), (0,))


def test_no_proposals(model: UniDet) -> None:
    """The cascade works on no proposal at all."""
    features = [torch.zeros(32, side, side) for side in (12, 6, 3)]
    with torch.inference_mode():
        stages = model.roi_heads(features, torch.zeros(0, 4), 90, 90)
        actual = cascade.detections(stages, 90, 90, "official")
    assert stages[0].logits.shape == (0, 723)
    assert len(actual.scores) == 0


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("backbone.bottom_up.res3.0.conv1.norm.running_var", "features"),
        ("proposal_generator.rpn_head.objectness_logits.bias", "proposals"),
        ("roi_heads.box_predictor.1.bbox_pred.bias", "box heads"),
    ],
)
def test_numbers_that_are_none_stop_the_run(name: str, where: str) -> None:
    """NaN raises an error that says where it arose; it never becomes an image without detections."""
    broken = recipe.network(recipe.TINY_R50, **RECIPE)
    broken.state_dict()[name].fill_(-1.0 if name.endswith("running_var") else float("nan"))
    with pytest.raises(DataError, match=f"{where} are not finite.*precision=float32"):
        broken(images("a"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "gains"),
    [
        (R50, {"stem_gain": 0.02, "cls_gain": 0.6, "cls_bias": -11.5}),
        (RS200, {"stem_gain": 1.0, "cls_gain": 2.0, "cls_bias": -24.0}),
    ],
    ids=["r50", "rs200"],
)
def test_full_size_at_the_benchmark_size(
    network: Architecture, gains: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both networks at their true size go through an image of 479x479 and give well-formed detections.

    On a smaller image they find the same again, and the same with all boxes in a head at once.
    """
    model = recipe.network(network, **gains)
    small = images("a", size=(96, 128))
    chunked, again = model(small)[0], model(small)[0]
    assert torch.equal(chunked.boxes, again.boxes)
    assert torch.equal(chunked.scores, again.scores)
    with monkeypatch.context() as patch:
        patch.setattr(cascade, "CHUNK", 1000)
        assert_same(model(small)[0], chunked)
    actual = model(images("c", size=(479, 479)))[0]
    assert 0 < len(actual.scores) <= cascade.MOST
    assert bool((actual.scores.diff() <= 0).all()) and actual.scores.min() > cascade.LEAST_SCORE
    assert actual.boxes.min() >= 0 and actual.boxes.max() <= 479
    assert actual.classes.min() >= 0 and actual.classes.max() < 722
