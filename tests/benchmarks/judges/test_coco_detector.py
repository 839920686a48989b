"""The real detector of the tests sees what is on real photos."""

from __future__ import annotations

import pytest
from PIL import Image

from silmm.bench.judging import canaries
from silmm.contracts.judges import Detector
from tests.benchmarks.judges import coco_detector


@pytest.fixture(scope="module")
def detector():
    """The COCO detector, where it is installed."""
    return coco_detector.find()


def test_the_weights_are_the_pinned_ones(detector):
    """The graph's hash is the one that the tests were written with."""
    assert detector.identity["weights_sha256"] == coco_detector.SHA256
    assert isinstance(detector, Detector)


@pytest.mark.parametrize(("name", "label"), [
    ("astronaut", "person"), ("chelsea", "cat"), ("coffee", "cup"), ("motorcycle_left", "motorcycle"),
])
def test_a_photo_shows_its_object(detector, name, label):
    """The best detection of each photo is its subject, and its box lies in the image's frame."""
    (detection,) = detector.detect([coco_detector.photo(name)])
    assert detection.labels[0] == label
    assert (detection.boxes <= [*detection.frame, *detection.frame]).all()
    assert (detection.boxes[:, :2] < detection.boxes[:, 2:]).all()


def test_boxes_are_where_the_objects_are(detector):
    """A cat on the left and a cup on the right of one image are found in that order from left to right."""
    cat, cup = (coco_detector.photo(name).resize((300, 300)) for name in ("chelsea", "coffee"))
    both = Image.new("RGB", (600, 300))
    both.paste(cat, (0, 0))
    both.paste(cup, (300, 0))
    (detection,) = detector.detect([both])
    centres = {label: (box[0] + box[2]) / 2 for label, box in zip(detection.labels, detection.boxes, strict=True)}
    assert centres["cat"] < detection.frame[0] / 2 < centres["cup"]


def test_it_passes_the_canaries(detector):
    """It sees nothing on a blank image."""
    assert all(item.passed for item in canaries.check(detector))
