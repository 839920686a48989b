"""Mask2Former as a judge: the objects of an image with boxes and masks at the image's own size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from silmm.checkpoint.devices import check_device
from silmm.contracts.judges import Detections
from silmm.errors import DataError
from silmm_benchmarks.data.geneval_names import LABELS, LEAST_SCORE
from silmm_benchmarks.judges.mask2former.checkpoint import load_network
from silmm_benchmarks.judges.mask2former.detections import masked_objects
from silmm_benchmarks.judges.mask2former.inputs import LONG_SIDE, SHORT_SIDE, prepared
from silmm_benchmarks.judges.mask2former.network import Mask2Former
from silmm_benchmarks.judges.options import Mask2FormerOptions
from silmm_benchmarks.judges.run_length import encode_mask
from silmm_benchmarks.judges.weight_files import fingerprint, locate, weight_files

if TYPE_CHECKING:
    from PIL.Image import Image


class Mask2FormerJudge:
    """GenEval's detector, a `Detector` with masks; images go through the network one by one, as officially."""

    labels = LABELS
    """COCO's names by class number."""

    def __init__(self, network: Mask2Former, device: torch.device, weights: Mapping[str, str]) -> None:
        """Take the loaded network, where it computes, and the hash of its weights."""
        self._network, self._device, self._weights = network.to(device), device, weights

    @classmethod
    def load(cls, options: Mask2FormerOptions) -> Mask2FormerJudge:
        """Find the weights that the options name and load them.

        Raises:
            DataError: they are missing, damaged or of another network.
            UsageError: torch cannot use the device.
        """
        device = check_device("the judge mask2former", options.device, "its option device")
        path: Path = weight_files(locate("mask2former", options.weights))[0]
        return cls(load_network(path), device, fingerprint(path))

    @property
    def identity(self) -> Mapping[str, str]:
        """Judge, hash of the weights, input, precision, the least score that is kept."""
        return {
            "judge": "mask2former", "architecture": "Mask2Former Swin-S of mmdet 2", **self._weights,
            "input": f"8-bit bilinear, shorter side {SHORT_SIDE}, longer at most {LONG_SIDE}",
            "dtype": "float32", "least_score": str(LEAST_SCORE),
        }

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        """Return the objects of each image with a score of at least 0.1, in the order of the original.

        Raises:
            DataError: numbers of the network are not finite, or an image is too narrow; says which.
        """
        detections = []
        for number, image in enumerate(images, 1):
            try:
                detections.append(self._detect(image))
            except DataError as error:
                raise DataError(f"image {number} of this batch: {error}") from error
        return detections

    def _detect(self, image: Image) -> Detections:
        source = prepared(image)
        height, width, _ = source.padded.shape
        with torch.inference_mode(), _full_precision():
            output = self._network(source.pixels(self._device))
            if not (output.class_logits.isfinite().all() and output.mask_logits.isfinite().all()):
                raise DataError("Mask2Former's logits are not finite; check its weights.")
            objects = masked_objects(output, (height, width), source.resized, source.original, least=LEAST_SCORE)
        kept = np.flatnonzero(objects.scores >= LEAST_SCORE)
        queries = [int(objects.queries[row]) for row in kept]
        masks = {query: encode_mask(objects.masks[query]) for query in dict.fromkeys(queries)}
        return Detections(
            labels=tuple(LABELS[int(objects.classes[row])] for row in kept),
            scores=objects.scores[kept],
            boxes=objects.boxes[kept],
            frame=source.original[::-1],
            masks=tuple(masks[query] for query in queries),
        )


@contextmanager
def _full_precision() -> Iterator[None]:
    """Keep a GPU from shortening float32 to TF32 in convolutions and products."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
