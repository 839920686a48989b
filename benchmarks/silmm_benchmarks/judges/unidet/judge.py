"""UniDet as a judge: named objects with their boxes in the frame of the resized image."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from silmm.checkpoint.devices import check_device
from silmm.contracts.judges import Detections
from silmm.errors import DataError
from silmm.storage.sha256_cache import file_digests
from silmm_benchmarks.judges.options import UniDetOptions
from silmm_benchmarks.judges.unidet.architecture import Architecture, Colours
from silmm_benchmarks.judges.unidet.boxes import Suppression
from silmm_benchmarks.judges.unidet.checkpoint import load_network
from silmm_benchmarks.judges.unidet.inputs import LONG_SIDE, SHORT_SIDE, pixels, resized
from silmm_benchmarks.judges.unidet.unidet_files import OFFICIAL, digest, located, read_labels, require_files

if TYPE_CHECKING:
    from PIL.Image import Image

ENOUGH = 50
"""Images after which a share of empty ones means something."""
SUSPICIOUS = 0.9
_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class UniDetJudge:
    """The detector of T2I-CompBench++'s spatial and numeracy columns; a `Detector`.

    Images go through the network one by one: the official code pads a batch of several sizes to the
    largest, so that what it finds near a border depends on the other images of the batch.
    """

    def __init__(self, architecture: Architecture, options: UniDetOptions) -> None:
        """Load weights and names.

        Raises:
            DataError: a file is missing, damaged or not what it should be.
            UsageError: torch cannot use the device.
        """
        self.architecture, self.options = architecture, options
        self._device = check_device(f"the judge {architecture.name}", options.device, "its option device")
        self._weights, names = located(architecture.name, options.weights, options.labels)
        require_files(architecture.name, self._weights, names)
        self.labels = read_labels(names)
        """The names that it can give, by class number."""
        network, self._mended = load_network(self._weights, architecture, repair=options.repair_variances)
        self.network = network.to(self._device)
        self._colours: Colours = "BGR" if options.colours == "official" else architecture.trained_on
        self._n_images = self._empty = 0

    @cached_property
    def identity(self) -> Mapping[str, str]:
        """Name all that the answers depend on; the files by their sha256."""
        names = digest(self.labels)
        (weights,) = file_digests([self._weights])
        return {
            "judge": self.architecture.name,
            "weights": weights,
            "labels": "official" if names == OFFICIAL else names,
            "input": f"{self._colours}, shorter side {SHORT_SIDE}, longer at most {LONG_SIDE}",
            "nms": self.options.nms,
            "precision": self.options.precision,
            "mended_variances": str(self._mended),
        }

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        """Return what is in each image, by falling score.

        Raises:
            DataError: numbers of the network are not finite, or an image is too narrow; says which.
        """
        return [self._detect(image, index) for index, image in enumerate(images)]

    def detect_image(
        self, image: Image, *, colours: Colours | None = None, rule: Suppression | None = None
    ) -> Detections:
        """Return the detections of one image, by falling score.

        Args:
            image: the image, of any size.
            colours: order of the channels in place of the options' own.
            rule: suppression in place of the options' own.

        Raises:
            DataError: numbers of the network are not finite, or the image is too narrow.
        """
        frame = resized(image)
        with self._arithmetic():
            (detections_of_frame,) = self.network([pixels(frame, colours or self._colours)], rule or self.options.nms)
        return Detections(
            labels=tuple(self.labels[number] for number in detections_of_frame.classes.tolist()),
            scores=detections_of_frame.scores.cpu().numpy(),
            boxes=detections_of_frame.boxes.cpu().numpy(),
            frame=frame.size,
        )

    def _detect(self, image: Image, index: int) -> Detections:
        try:
            detections = self.detect_image(image)
        except DataError as error:
            raise DataError(f"image {index + 1} of this batch: {error}") from error
        self._count(not len(detections.scores))
        return detections

    def _arithmetic(self) -> AbstractContextManager[object]:
        """Compute in the precision of the options; on a GPU, float32 without its shortened form."""
        contexts = ExitStack()
        lower = self.options.precision != "float32"
        if lower:
            kind = _PRECISIONS[self.options.precision]
            contexts.enter_context(torch.autocast(self._device.type, dtype=kind))
        elif self._device.type == "cuda":
            contexts.enter_context(torch.backends.cudnn.flags(enabled=True, allow_tf32=False))
        return contexts

    def _count(self, empty: bool) -> None:
        self._n_images += 1
        self._empty += empty
        if self._n_images == ENOUGH and self._empty > SUSPICIOUS * ENOUGH:
            warnings.warn(
                f"{self.architecture.name} found nothing in {self._empty} of the first {ENOUGH} images. "
                "Check these images; if they show objects, the weights or the order of colours are wrong.",
                stacklevel=4,
            )

