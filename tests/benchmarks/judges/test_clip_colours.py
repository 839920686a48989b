"""CLIP names colours as clip-benchmark and open_clip do in GenEval's evaluator."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from silmm_benchmarks.judges.clip_colours import ClipColours, class_texts, region_crop
from silmm_benchmarks.judges.loading import Placement
from silmm_benchmarks.judges.options import ColourOptions
from silmm_benchmarks.judges.run_length import encode_mask

from silmm.contracts.judges import ColourJudge, Region
from silmm.errors import DataError, UsageError
from tests.benchmarks.geneval import golden_recipe

LOGITS = 1e-4
"""Of numbers of about 100."""


@pytest.fixture(scope="module")
def model() -> Any:
    """Give the tiny CLIP of the recording."""
    import open_clip

    recorded = json.loads((Path(__file__).parents[2] / "goldens/geneval/geneval_colour.json").read_text())
    clip = open_clip.CLIP(**recorded["config"])
    table = {
        key: torch.from_numpy(golden_recipe.clip_tensor(key, tuple(shape)))
        for key, shape in recorded["state_dict_shapes"].items() if shape
    }
    missing = clip.load_state_dict(table, strict=False)
    assert missing.unexpected_keys == []
    assert set(missing.missing_keys) <= {"logit_scale", "attn_mask"}
    return clip


def _judge(model: Any, batch: int = 16, **options: Any) -> ClipColours:
    import open_clip

    placement = Placement(torch.device("cpu"), torch.float32, batch)
    return ClipColours(model, open_clip.get_tokenizer("ViT-L-14-quickgelu"), placement, {}, **options)


def _options(case: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the official options of a case."""
    options = case["options"]
    return {
        **({"background": options["bgcolor"]} if "bgcolor" in options else {}),
        **({"crop": bool(int(options["crop"]))} if "crop" in options else {}),
    }


def _mask(name: str | None, width: int, height: int) -> str:
    return encode_mask(golden_recipe.mask(name, height, width)) if name else ""


def test_crops_equal_the_recorded_ones(goldens: Path) -> None:
    """Every mode, orientation, background and box gives the recorded pixels; what raised there raises here."""
    for case in json.loads((goldens / "geneval/geneval_rules.json").read_text())["crops"]:
        image = golden_recipe.image_of(case["image_tag"], case, case["source_mode"], alpha=0)
        image = ImageOps.exif_transpose(image).convert("RGB")
        region = Region("x", tuple(case["box"][:4]), image.size, _mask(case["mask_tag"], *image.size))
        if case["mask_tag"] == "wrong_shape":
            region = Region("x", region.box, (3, 3), "9")
        if "error" in case:
            with pytest.raises((ValueError, DataError)):
                region_crop(image, region, **_options(case))
            continue
        crop = region_crop(image, region, **_options(case))
        assert list(crop.size) == case["size"], case
        assert hashlib.sha256(crop.tobytes()).hexdigest() == case["sha256"], case


def test_classifiers_equal_the_recorded_ones(goldens: Path, model: Any) -> None:
    """The texts, their tokens and the ten columns of a class are those of the original."""
    recorded = json.loads((goldens / "geneval/geneval_colour.json").read_text())
    arrays = np.load(goldens / "geneval/geneval_colour.npz")
    judge = _judge(model)
    for name, case in recorded["classes"].items():
        assert class_texts(name) == case["texts"]
        with torch.inference_mode():
            columns = judge.classifier(name).numpy()
        assert np.abs(columns - arrays[f"classifier/{name}"]).max() < 1e-6


def test_colours_equal_the_recorded_ones(goldens: Path, model: Any) -> None:
    """Logits of every object are within 1e-4 of the original's, and the names are equal, alone and in a batch."""
    recorded = json.loads((goldens / "geneval/geneval_colour.json").read_text())
    arrays = np.load(goldens / "geneval/geneval_colour.npz")
    images, regions, names = [], [], []
    for case in recorded["crops"]:
        image = Image.fromarray(golden_recipe.pixels(case["tag"], case["height"], case["width"]))
        of_image = [
            Region(case["classname"], tuple(box[:4]), image.size, _mask(mask, *image.size))
            for box, mask in zip(case["boxes"], case["masks"], strict=True)
        ]
        judge = _judge(model, **_options(case))
        logits = judge.logits([image], [of_image])
        assert np.abs(logits - arrays[f"logits/{case['tag']}"]).max() <= LOGITS, case["tag"]
        assert judge.colours([image], [of_image]) == [case["colours"]], case["tag"]
        if not case["options"]:
            images, regions, names = [*images, image], [*regions, of_image], [*names, case["colours"]]
    assert _judge(model, batch=3).colours(images, regions) == names


def test_an_image_without_objects_has_no_colours(model: Any) -> None:
    """Images and regions stay together, also where an image has none."""
    image = Image.new("RGB", (32, 32), "red")
    region = Region("car", (0, 0, 32, 32), (32, 32))
    judge = _judge(model)
    assert isinstance(judge, ColourJudge)
    assert judge.colours([image, image], [[], []]) == [[], []]
    assert [len(colours) for colours in judge.colours([image] * 3, [[], [region], [region, region]])] == [0, 1, 2]


def test_boxes_of_a_resized_frame_refer_to_the_image() -> None:
    """A detector that sees a smaller image gives the same crop."""
    image = Image.fromarray(golden_recipe.pixels("frame", 40, 60))
    half, whole = Region("x", (5, 5, 15, 10), (30, 20)), Region("x", (10, 10, 30, 20), (60, 40))
    assert region_crop(image, half).tobytes() == region_crop(image, whole).tobytes()


def test_an_unknown_background_is_an_error_of_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is known before weights are looked for, and missing weights say where they come from."""
    monkeypatch.setenv("SILMM_DATA", str(tmp_path))
    with pytest.raises(UsageError, match="background 'reddish'"):
        ClipColours.load(ColourOptions(background="reddish"))
    with pytest.raises(DataError, match="silmm data pull clip-l14"):
        ClipColours.load(ColourOptions())


def test_logits_that_are_not_finite_are_refused(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damaged weights do not name a colour."""
    judge = _judge(model)
    monkeypatch.setattr(judge, "logits", lambda *_: np.full((1, 10), np.nan, np.float32))
    with pytest.raises(DataError, match="not finite"):
        judge.colours([Image.new("RGB", (4, 4))], [[Region("car", (0, 0, 4, 4), (4, 4))]])
