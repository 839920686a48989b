"""The detector equals recorded outputs of mmdet and mmcv: input, operators, networks, objects."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from silmm_benchmarks.judges.mask2former.detections import MaskedObjects, masked_objects
from silmm_benchmarks.judges.mask2former.inputs import prepared
from silmm_benchmarks.judges.mask2former.network import Mask2Former, Output

from tests.benchmarks.geneval import golden_recipe

TOLERANCES = {"backbone": 2e-5, "multi_scale": 5e-4, "mask_features": 5e-4, "masks_last": 1e-2}
CLASS_LOGITS, SCORE = 2e-3, 2e-4


def _read(goldens: Path, name: str) -> Any:
    return json.loads((goldens / "geneval" / "geneval_detector" / f"{name}.json").read_text())


def _arrays(goldens: Path, name: str) -> Mapping[str, np.ndarray]:
    return np.load(goldens / "geneval" / "geneval_detector" / f"{name}.npz")


def _rows(objects: MaskedObjects) -> list[list[float]]:
    """Return label, box, score and mask area of each object, sorted as the recorded ones are."""
    rows = [
        [int(label), *map(float, box), float(score), int(objects.masks[int(query)].sum())]
        for label, box, score, query in zip(
            objects.classes, objects.boxes, objects.scores, objects.queries, strict=True
        )
    ]
    return sorted(rows, key=lambda row: (row[0], row[1:5], -row[5]))


def _compare(objects: MaskedObjects, recorded: Sequence[Sequence[float]], score: float, pixels: float) -> None:
    """Demand equal labels and boxes, scores within `score`, areas within a share of `pixels`."""
    own = np.array(_rows(objects))
    expected = np.array(sorted(([*row] for row in recorded), key=lambda row: (row[0], row[1:5], -row[5])))
    assert own.shape == expected.shape
    assert (own[:, :5] == expected[:, :5]).all()
    assert np.abs(own[:, 5] - expected[:, 5]).max() <= score
    assert (np.abs(own[:, 6] - expected[:, 6]) <= pixels).all()


def test_names_and_shapes_are_those_of_the_checkpoint(goldens: Path) -> None:
    """The network has the 625 parameters of mmdet's state dict, by name and shape, and computes its 24 buffers."""
    for name, sizes in (("full", None), ("tiny", golden_recipe.TINY)):
        with torch.device("meta"):
            own = {key: list(value.shape) for key, value in Mask2Former(sizes).state_dict().items()}
        expected = _read(goldens, "keys")[name]
        assert own == {key: shape for key, shape in expected.items() if not key.endswith("relative_position_index")}


def test_images_are_read_resized_and_padded_to_the_bit(goldens: Path) -> None:
    """Any size, mode and orientation gives the pixels of OpenCV and mmdet."""
    cases = _read(goldens, "preprocess")
    for case in cases:
        image = golden_recipe.image_of(case["tag"], case, case["mode"], alpha=1)
        source = prepared(image)
        height, width = source.resized
        resized = np.ascontiguousarray(source.padded[:height, :width])
        assert [height, width] == case["img_shape"][:2], case["tag"]
        assert hashlib.sha256(resized).hexdigest() == case["resized_sha256"], case["tag"]
        assert hashlib.sha256(source.padded).hexdigest() == case["padded_sha256"], case["tag"]
        normalised = source.pixels()[0, :, 0, 0].numpy()
        assert np.abs(normalised - case["first_pixel_normalised"]).max() < 1e-6, case["tag"]
        if case["pad_pixel_normalised"]:
            assert np.abs(source.pixels()[0, :, -1, -1].numpy() - case["pad_pixel_normalised"]).max() < 1e-6


def test_objects_of_recorded_logits_are_equal(goldens: Path) -> None:
    """Class and mask logits give the recorded rows and masks, also where every query says "no object"."""
    arrays = _arrays(goldens, "postprocess")
    for case in _read(goldens, "postprocess"):
        output = Output(*(torch.from_numpy(arrays[f"{case['name']}/{part}"]).float() for part in ("cls", "mask")))
        objects = masked_objects(
            output, tuple(case["padded"]), tuple(case["resized"]), tuple(case["original"]),
            most=case["max_per_image"],
        )  # fmt: skip
        _compare(objects, [row[:7] for row in case["detections"]], 1e-6, 0)
        hashes = {hashlib.sha256(mask.astype(np.uint8)).hexdigest()[:16] for mask in objects.masks.values()}
        assert hashes == {digest[:16] for digest in case["mask_sha256"]}, case["name"]


def _check_network(network: Mask2Former, case: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Compare all that was recorded of an image: maps, logits of each layer, objects."""
    image = Image.fromarray(golden_recipe.pixels(case["tag"], case["height"], case["width"]))
    source = prepared(image, long_side=case["img_scale"][0], short_side=case["img_scale"][1])
    head, queries = network.panoptic_head, [network.panoptic_head.query_feat.weight]
    maps: list[torch.Tensor] = []
    decoded: list[Any] = []
    hooks = [
        network.backbone.register_forward_hook(lambda *call: maps.extend(call[2])),
        head.pixel_decoder.register_forward_hook(lambda *call: decoded.extend(call[2])),
        *(
            layer.register_forward_hook(lambda *call: queries.append(call[2]))
            for layer in head.transformer_decoder.layers
        ),
    ]
    with torch.inference_mode():
        output = network(source.pixels())
        layers = [head.class_logits(each) for each in queries]
    for hook in hooks:
        hook.remove()
    features_map, levels = decoded
    computed = {f"backbone{n}": each for n, each in enumerate(maps)}
    computed |= {f"multi_scale{n}": each for n, each in enumerate(levels)}
    computed |= {"mask_features": features_map, "masks_last": output.mask_logits[None]}
    for name, cut in case["slices"].items():
        own = eval(f"array{cut}", {"array": computed[name].numpy()})  # noqa: S307  # a slice of the recording
        tolerance = next(limit for start, limit in TOLERANCES.items() if name.startswith(start))
        assert np.abs(own - arrays[f"{case['tag']}/{name}"]).max() <= tolerance, name
    assert np.abs(output.class_logits.numpy() - arrays[f"{case['tag']}/cls_last"]).max() <= CLASS_LOGITS
    for number, logits in enumerate(layers):
        if f"{case['tag']}/cls{number}" in arrays:
            cut = logits.numpy()[::3, ::8]
            assert np.abs(cut - arrays[f"{case['tag']}/cls{number}"]).max() <= CLASS_LOGITS, number
    height, width, _ = source.padded.shape
    objects = masked_objects(output, (height, width), source.resized, source.original)
    _compare(objects, [row[:7] for row in case["detections"]], SCORE, 1e-4 * case["height"] * case["width"])


def test_a_narrow_network_gives_the_recorded_objects(goldens: Path) -> None:
    """From pixels to objects, with every map and every layer's class logits between them."""
    network, arrays = golden_recipe.detector(golden_recipe.TINY), _arrays(goldens, "tiny")
    for case in _read(goldens, "tiny").values():
        _check_network(network, case, arrays)


@pytest.mark.slow
def test_the_network_of_the_real_size_gives_the_recorded_objects(goldens: Path) -> None:
    """The same with all 68.7 million numbers."""
    network, arrays = golden_recipe.detector(), _arrays(goldens, "full")
    for case in _read(goldens, "full").values():
        _check_network(network, case, arrays)
