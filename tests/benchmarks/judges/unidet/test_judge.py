"""UniDet behind the contract of detectors: names, identity, independence of the batch, missing files."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from silmm_benchmarks.judges.options import UniDetOptions
from silmm_benchmarks.judges.unidet import judge as judging
from silmm_benchmarks.judges.unidet.architecture import R50
from silmm_benchmarks.judges.unidet.judge import UniDetJudge

from silmm.contracts.judges import Detections, Detector
from silmm.errors import DataError, UsageError
from silmm.registry.registry import Registry
from tests.benchmarks.judges.unidet import recipe
from tests.conftest import OfficialData

NAMES = [f"thing {i}" for i in range(722)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with the weights of both narrow networks and 722 names."""
    root = tmp_path_factory.mktemp("unidet")
    r50 = recipe.network(recipe.TINY_R50, stem_gain=0.02, cls_gain=0.6, cls_bias=-11.5)
    rs50 = recipe.network(recipe.TINY_RS50, stem_gain=1.0, cls_gain=2.0, cls_bias=-11.5)
    torch.save({"model": r50.state_dict()}, root / "r50.pth")
    torch.save({"model": rs50.state_dict()}, root / "rs50.pth")
    (root / "names.json").write_text(json.dumps(NAMES))
    return root


def make(folder: Path, name: str = "rs50", **options: object) -> UniDetJudge:
    architecture = {"r50": recipe.TINY_R50, "rs50": recipe.TINY_RS50}[name]
    options_with_files = {"weights": str(folder / f"{name}.pth"), "labels": str(folder / "names.json"), **options}
    return UniDetJudge(architecture, UniDetOptions.model_validate(options_with_files))


def recipe_image(tag: str, height: int = 90, width: int = 120) -> Image.Image:
    return Image.fromarray(recipe.image(tag, height, width))


def assert_equal(detection: Detections, other: Detections) -> None:
    assert (detection.labels, detection.frame) == (other.labels, other.frame)
    assert np.array_equal(detection.scores, other.scores)
    assert np.array_equal(detection.boxes, other.boxes)


def test_contract(folder: Path) -> None:
    """It is a Detector: names, scores and boxes of one length, by falling score, inside the frame."""
    judge = make(folder)
    assert isinstance(judge, Detector)
    (detection,) = judge.detect([recipe_image("a")])
    assert detection.frame == (480, 360)
    assert 0 < len(detection.labels) == len(detection.scores) == len(detection.boxes) <= 300
    assert set(detection.labels) <= set(NAMES)
    assert (detection.scores.dtype, detection.boxes.dtype) == (np.float32, np.float32)
    assert np.all(np.diff(detection.scores) <= 0)
    assert detection.boxes.min() >= 0 and np.all(detection.boxes.max(0) <= [480, 360, 480, 360])


def test_images_do_not_depend_on_their_batch(folder: Path) -> None:
    """Bit by bit the same detections alone and beside images of other sizes, in any order."""
    judge = make(folder, "r50")
    images = [recipe_image("a"), recipe_image("b", 100, 100), recipe_image("c", 40, 300)]
    together = judge.detect(images)
    assert_equal(judge.detect(images[1:2])[0], together[1])
    for item, again in zip(together, judge.detect(images[::-1])[::-1], strict=True):
        assert_equal(item, again)


def test_order_of_colours(folder: Path) -> None:
    """`official` feeds BGR to both networks; `corrected` feeds RGB to the one that was trained on it."""
    image = recipe_image("a")
    turned = Image.fromarray(np.asarray(image)[..., ::-1])
    official, corrected = make(folder), make(folder, colours="corrected")
    assert_equal(official.detect([image])[0], corrected.detect([turned])[0])
    assert len(official.detect([image])[0].scores) != len(corrected.detect([image])[0].scores)
    assert_equal(
        make(folder, "r50").detect([image])[0], make(folder, "r50", colours="corrected").detect([image])[0]
    )


def test_identity_names_what_answers_depend_on(folder: Path) -> None:
    """Each option that changes answers changes the identity; weights and names are in it by hash."""
    plain = make(folder).identity
    assert len(plain["weights"]) == len(plain["labels"]) == 64
    assert plain["mended_variances"] == "0"
    changed = [
        make(folder, **options).identity
        for options in ({"colours": "corrected"}, {"nms": "exact"}, {"precision": "bfloat16"})
    ]
    assert len({json.dumps(dict(item)) for item in [plain, *changed]}) == 4
    assert make(folder, "r50", colours="corrected").identity == make(folder, "r50").identity


def test_official_names(folder: Path, official_data: OfficialData) -> None:
    """With the official names the identity says so."""
    names = official_data("t2i-compbench/unidet_labels_722.json")
    assert make(folder, labels=str(names)).identity["labels"] == "official"


def test_bfloat16(folder: Path) -> None:
    """In bfloat16 the best scores move by little, and boxes stay float32."""
    judges = [make(folder, "r50", precision=precision) for precision in ("float32", "bfloat16")]
    exact, coarse = (judge.detect([recipe_image("a")])[0] for judge in judges)
    assert coarse.boxes.dtype == np.float32
    assert not np.array_equal(exact.scores, coarse.scores)
    assert np.abs(exact.scores[:10] - coarse.scores[:10]).max() < 0.05


def test_broken_weights_stop_the_run(folder: Path) -> None:
    """When the network gives NaN the error names the image; no image is scored 0 for it."""
    judge = make(folder)
    judge.network.state_dict()["backbone.top_block.p7.bias"].fill_(float("nan"))
    with pytest.raises(DataError, match=r"image 1 of this batch.*not finite"):
        judge.detect([recipe_image("a")])


def test_many_empty_images_warn(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector that finds nothing in nearly all images says so once."""
    monkeypatch.setattr(judging, "ENOUGH", 3)
    judge = make(folder, "r50")
    for stage in judge.network.roi_heads.box_predictor:
        stage.state_dict()["cls_score.bias"].fill_(-99.0)
    with pytest.warns(UserWarning, match="found nothing in 3 of the first 3"):
        judge.detect([recipe_image("a", 32, 32)] * 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        judge.detect([recipe_image("a", 32, 32)])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unidet-r50", ["_R50_6x+2x.pth", "0.29 GB", "drive.usercontent.google.com"]),
        ("unidet-rs200", ["_RS200_6x+2x.pth", "0.48 GB", "shikunl/prismer"]),
    ],
)
def test_missing_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: list[str]) -> None:
    """Through the registry, missing files are named with place, home, size, licence and option."""
    monkeypatch.setenv("SILMM_DATA", str(tmp_path))
    with pytest.raises(DataError) as caught:
        Registry.load().build("judge", name, {})
    message = str(caught.value)
    common = [str(tmp_path / name), "non-commercial", "`weights`", "`labels`", "detection_features.pt"]
    assert [word for word in [*words, *common] if word not in message] == []


def test_a_folder_of_official_files(tmp_path: Path) -> None:
    """`weights` may name the folder of the official files; the labels are then beside the weights."""
    with pytest.raises(DataError, match="not a checkpoint of unidet-r50"):
        (tmp_path / "Unified_learned_OCIM_R50_6x+2x.pth").write_bytes(_checkpoint())
        torch.save({"labels": NAMES}, tmp_path / "detection_features.pt")
        UniDetJudge(R50, UniDetOptions(weights=str(tmp_path)))


def _checkpoint() -> bytes:
    import io

    buffer = io.BytesIO()
    torch.save({"weight": torch.zeros(1)}, buffer)
    return buffer.getvalue()


def test_unknown_device(folder: Path) -> None:
    """A device that torch does not know is a usage error."""
    with pytest.raises(UsageError, match="'abacus'"):
        make(folder, device="abacus")
