"""Detectors of transformers answer in the official form and say that they are not the official one."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from silmm_benchmarks.judges.options import DetectorOptions
from silmm_benchmarks.judges.transformers_detector import TransformersDetector, frame_of, read_labels

from silmm.contracts.judges import Detector
from silmm.errors import DataError, UsageError

LABELS = {"rt_detr": "", "owlv2": "dog,red car,circle", "grounding_dino": "dog,red car,circle"}


@pytest.fixture(params=sorted(LABELS))
def kind(request):
    """A family of detectors."""
    return request.param


def load(tiny, kind, **options):
    """Load a tiny random detector."""
    chosen = {"labels": LABELS[kind], "threshold": 0.0, "device": "cpu"} | options
    return TransformersDetector.load(DetectorOptions(weights=str(tiny(kind)), **chosen))


def test_detections_do_not_depend_on_the_batch(tiny, kind, images):
    """Each image alone gives the labels, scores and boxes that it has among others of any size."""
    judge = load(tiny, kind)
    many = [*images, images[0].rotate(90)]
    for image, found in zip(many, judge.detect(many), strict=True):
        (alone,) = judge.detect([image])
        assert found.labels == alone.labels
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-5)
        np.testing.assert_allclose(found.boxes, alone.boxes, atol=1e-2)


def test_detections_have_the_official_form(tiny, kind, images):
    """Descending scores over the threshold, known labels, float32 boxes with an area inside the frame."""
    judge = load(tiny, kind, threshold=0.05, most=5)
    for image, found in zip(images, judge.detect(images), strict=True):
        assert found.frame == frame_of(image.size)
        assert 1 <= len(found.labels) <= 5
        assert set(found.labels) <= set(judge.labels)
        assert (np.diff(found.scores) <= 0).all()
        assert ((found.scores > 0.05) & (found.scores <= 1)).all()
        assert (found.boxes[:, :2] < found.boxes[:, 2:]).all()
        assert (found.boxes >= 0).all()
        assert (found.boxes <= [*found.frame, *found.frame]).all()
        assert (found.scores.dtype, found.boxes.dtype) == (np.float32, np.float32)
    assert load(tiny, kind, threshold=1.0).detect(images[:1])[0].boxes.shape == (0, 4)


def test_the_identity_says_that_it_is_not_the_official_detector(tiny, kind):
    """A result made with it can never pass as UniDet's; labels and threshold are part of it."""
    judge = load(tiny, kind)
    assert judge.identity["official"].startswith("no")
    assert isinstance(judge, Detector)
    assert dict(load(tiny, kind, threshold=0.3).identity) != dict(judge.identity)


def test_scores_are_transformers_own(tiny, kind, images):
    """The best score is the model's best sigmoid; Grounding DINO's the best over the labels' own tokens."""
    judge = load(tiny, kind)
    seen = []
    hook = judge.model.register_forward_hook(lambda _, __, output: seen.append(output.logits.sigmoid()))
    best = judge.detect(images[:1])[0].scores[0]
    hook.remove()
    largest = float(seen[0].max())
    if kind == "grounding_dino":
        assert 0 < best <= largest + 1e-6
    else:
        assert best <= largest + 1e-6
        assert best == pytest.approx(largest, abs=0.2)


def test_grounded_labels_own_their_tokens(tiny):
    """Each label's span holds its own words and no full stop or special token."""
    judge = load(tiny, "grounding_dino")
    ids = judge.processor.tokenizer("dog. red car. circle.")["input_ids"]
    spans = judge._spans(ids, judge.labels)
    tokens = judge.processor.tokenizer.convert_ids_to_tokens(ids)
    words = [[tokens[place] for place in span] for span in spans]
    assert words == [["dog"], ["red", "car"], ["circle"]]


@pytest.mark.parametrize(("size", "frame"), [
    ((512, 512), (479, 479)), ((640, 480), (480, 360)), ((480, 640), (360, 480)), ((1024, 1023), (479, 479)),
])
def test_the_frame_is_the_official_one(size, frame):
    """Short side 479 unless the long one then exceeds 480, as torchvision's Resize(479, max_size=480)."""
    from torchvision.transforms import Resize

    assert frame_of(size) == frame
    assert Resize(479, max_size=480)(Image.new("RGB", size)).size == frame


def test_a_text_detector_needs_labels(tiny):
    """Without labels there is nothing to detect, which is reported before anything is scored."""
    with pytest.raises(UsageError, match="option labels"):
        load(tiny, "owlv2", labels="")


def test_labels_come_from_a_list_or_a_file(tmp_path):
    """A comma list, or a JSON list whose names may hold commas; doubles are one label."""
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(["table, desk", "dog", "dog"]))
    assert read_labels(str(path)) == ["table, desk", "dog"]
    assert read_labels("dog, red car,dog") == ["dog", "red car"]
    for bad in ('{"a": 1}', "[1]", '["a. b"]', "["):
        path.write_text(bad)
        with pytest.raises(DataError):
            read_labels(str(path))


def test_a_broken_model_gives_no_silent_detections(tiny, images):
    """Weights with NaN stop instead of finding nothing: the benchmark's own scripts score 0 there."""
    judge = load(tiny, "rt_detr")
    with torch.no_grad():
        for name, parameter in judge.model.named_parameters():
            if "class_embed" in name:
                parameter.fill_(float("nan"))
    with pytest.raises(DataError, match="not finite"):
        judge.detect(images[:1])
