"""Mask2Former as a judge, and what its checkpoint may be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from silmm_benchmarks.data.geneval_names import LABELS, LEAST_SCORE
from silmm_benchmarks.judges.mask2former import checkpoint
from silmm_benchmarks.judges.mask2former.checkpoint import load_network
from silmm_benchmarks.judges.mask2former.detections import masked_objects
from silmm_benchmarks.judges.mask2former.inputs import prepared
from silmm_benchmarks.judges.mask2former.judge import Mask2FormerJudge
from silmm_benchmarks.judges.mask2former.network import Mask2Former, Output
from silmm_benchmarks.judges.mask2former.pixel_decoder import sample_by_grid, sample_by_rows
from silmm_benchmarks.judges.options import Mask2FormerOptions
from silmm_benchmarks.judges.run_length import decode_mask

from silmm.contracts.judges import Detector
from silmm.errors import DataError, UsageError
from tests.benchmarks.geneval import golden_recipe


@pytest.fixture(scope="module")
def network() -> Mask2Former:
    """Give a narrow network with the recipe's weights."""
    return golden_recipe.detector(golden_recipe.TINY)


@pytest.fixture
def small_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the judge resize images to 200 pixels, so that a test takes little time."""
    module = "silmm_benchmarks.judges.mask2former.judge.prepared"
    monkeypatch.setattr(module, lambda image: prepared(image, long_side=333, short_side=200))


@pytest.fixture
def judge(network: Mask2Former, small_input: None) -> Mask2FormerJudge:
    """Give a judge of that network."""
    return Mask2FormerJudge(network, torch.device("cpu"), {"weights_sha256": "0"})


def images() -> list[Image.Image]:
    """Return three images of unequal sizes."""
    return [Image.fromarray(golden_recipe.pixels(f"t{n}", 61 + 7 * n, 83 - 9 * n)) for n in range(3)]


def test_an_image_is_answered_alike_in_any_batch(judge: Mask2FormerJudge) -> None:
    """Objects, scores and masks do not depend on the other images."""
    together = judge.detect(images())
    alone = [judge.detect([image])[0] for image in images()]
    for batched, single in zip(together, alone, strict=True):
        assert batched.labels == single.labels
        assert batched.masks == single.masks
        assert (batched.scores == single.scores).all()
    assert isinstance(judge, Detector)
    assert judge.labels == LABELS


def test_weak_objects_are_left_out_and_the_others_stay_as_they_are(
    judge: Mask2FormerJudge, network: Mask2Former
) -> None:
    """From 0.1 on, the judge gives what all hundred rows have, in their order."""
    image = images()[0]
    (found,) = judge.detect([image])
    source = prepared(image, long_side=333, short_side=200)
    with torch.inference_mode():
        output = network(source.pixels())
    full = masked_objects(output, source.padded.shape[:2], source.resized, source.original)
    strong = [n for n in range(len(full.scores)) if full.scores[n] >= LEAST_SCORE]
    assert 0 < len(strong) < len(full.scores)
    assert (found.scores == full.scores[strong]).all()
    assert (found.boxes == full.boxes[strong]).all()
    for text, row in zip(found.masks, strong, strict=True):
        assert (decode_mask(text, image.height, image.width) == full.masks[int(full.queries[row])]).all()


def test_boxes_and_masks_are_those_of_the_upright_image(judge: Mask2FormerJudge) -> None:
    """An image that its EXIF data turns gives the objects of the turned image."""
    case = {"height": 40, "width": 60, "exif_orientation": 6}
    turned = golden_recipe.image_of("turned", case, "RGB", 0).convert("RGB")
    upright = Image.fromarray(np.rot90(golden_recipe.pixels("turned", 40, 60), -1))
    (found,), (expected,) = judge.detect([turned]), judge.detect([upright])
    assert found.frame == expected.frame == (40, 60)
    assert found.masks == expected.masks


def test_nothing_found_is_an_empty_answer() -> None:
    """Without any probable class there is no object, and no mask is computed."""
    logits = torch.zeros(4, 81)
    logits[:, -1] = 50
    objects = masked_objects(
        Output(logits, torch.zeros(4, 8, 8)), (32, 32), (32, 32), (64, 64), least=LEAST_SCORE
    )
    assert objects.boxes.shape == (0, 4)
    assert objects.masks == {}


def test_an_image_without_a_shorter_side_is_refused(judge: Mask2FormerJudge) -> None:
    """The message names the image of the batch."""
    with pytest.raises(DataError, match=r"image 2 of this batch: .* too narrow"):
        judge.detect([images()[0], Image.new("RGB", (9000, 1))])


def test_logits_that_are_not_finite_are_refused(network: Mask2Former, small_input: None) -> None:
    """Damaged arithmetic does not become an image without objects."""
    with torch.device("meta"):
        broken = Mask2Former(golden_recipe.TINY)
    table = golden_recipe.detector_table(network)
    table["panoptic_head.cls_embed.bias"] = torch.full((81,), float("nan"))
    broken.load_state_dict(table, assign=True)
    with pytest.raises(DataError, match="not finite"):
        Mask2FormerJudge(broken.eval(), torch.device("cpu"), {}).detect(images()[:1])


def _save(network: Mask2Former, path: Path, change: Callable[[dict], object] = lambda content: None) -> Path:
    index = torch.zeros(49, 49, dtype=torch.int64)
    buffers = {"backbone.stages.0.blocks.0.attn.w_msa.relative_position_index": index}
    content = {"meta": {"CLASSES": LABELS, "epoch": 50}, "state_dict": {**network.state_dict(), **buffers}}
    change(content)
    torch.save(content, path)
    return path


def test_the_official_wrapping_loads(network: Mask2Former, tmp_path: Path) -> None:
    """A .pth with `state_dict` and `meta` gives the same weights; buffers of indices are computed."""
    loaded = load_network(_save(network, tmp_path / "a.pth"), golden_recipe.TINY)
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    with torch.inference_mode():
        source = prepared(images()[0], long_side=333, short_side=200)
        assert torch.equal(loaded(source.pixels()).class_logits, network(source.pixels()).class_logits)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["state_dict"].popitem(), "missing"),
        (lambda content: content["state_dict"].pop("backbone.norm0.weight"), "1 missing: backbone.norm0.weight"),
        (lambda content: content["state_dict"].update(other=torch.zeros(1)), "1 unknown: other"),
        (
            lambda content: content["state_dict"].update({"backbone.norm0.bias": torch.zeros(3)}),
            "1 of another shape: backbone.norm0.bias",
        ),
        (
            lambda content: content["state_dict"].update({"backbone.norm0.bias": torch.full((16,), np.inf)}),
            "damaged: .* backbone.norm0.bias",
        ),
        (lambda content: content["meta"].update(CLASSES=("dog",)), "other classes"),
        (lambda content: content.update(state_dict=[1]), "no table of tensors"),
    ],
)
def test_another_checkpoint_is_refused(
    network: Mask2Former, tmp_path: Path, change: Callable[[dict], object], message: str
) -> None:
    """A name, a shape or a number that is wrong is named, and nothing is loaded."""

    def changed(content: dict) -> None:
        content["state_dict"].pop("backbone.stages.0.blocks.0.attn.w_msa.relative_position_index")
        change(content)

    with pytest.raises(DataError, match=message):
        load_network(_save(network, tmp_path / "a.pth", changed), golden_recipe.TINY)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model.pixel_level_module.encoder.x", "other trainings"),
        ("panoptic_head.pixel_decoder.encoder.layers.0.self_attn.value_proj.bias", "mmdet 3"),
        ("panoptic_head.query_feat.weight", "another size"),
        ("layer1.weight", "another network"),
    ],
)
def test_a_wrong_file_is_recognised(name: str, message: str) -> None:
    """The conversion of transformers and the file of mmdet 3, which people take by mistake, are called by name."""
    assert message in checkpoint.recognised([name])


def test_a_file_with_code_is_not_opened(tmp_path: Path) -> None:
    """Objects beyond tensors and plain values are refused; nothing of them runs."""
    path = tmp_path / "a.pth"
    torch.save({"state_dict": {}, "meta": Path}, path)
    with pytest.raises(DataError, match="cannot be read as weights"):
        load_network(path)


def test_missing_weights_say_where_they_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the file, its home and the command; a device that is not there is an error of usage."""
    monkeypatch.setenv("SILMM_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"743b7d99\.pth.*silmm data pull mask2former"):
        Mask2FormerJudge.load(Mask2FormerOptions(device="cpu"))
    with pytest.raises(UsageError, match="device"):
        Mask2FormerJudge.load(Mask2FormerOptions(device="cuda:99"))


def test_both_ways_of_sampling_are_bilinear_with_zeros_outside() -> None:
    """Table rows, which a CPU takes, give what grid_sample gives, also at the borders and outside."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(2, 3), (4, 5), (7, 1)]
    values = torch.randn(33, 2, 6, generator=generator)
    locations = torch.rand(11, 2, 3, 4, 2, generator=generator) * 1.6 - 0.3
    weights = torch.rand(11, 2, 3, 4, generator=generator)
    rows = sample_by_rows(values, sizes, locations, weights)
    assert rows.shape == (11, 2, 6)
    assert torch.allclose(rows, sample_by_grid(values, sizes, locations, weights), atol=1e-5)
    centre = torch.full((1, 2, 3, 4, 2), -1.0)
    centre[:, :, 1, 0] = torch.tensor([1.5 / 5, 0.5 / 4])  # the second token of the second level
    assert torch.allclose(sample_by_rows(values, sizes, centre, weights[:1])[0], values[7] * weights[0, :, 1, :1])
