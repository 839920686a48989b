"""Any object detector of transformers in place of UniDet: useful, and not the official one."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from silmm.contracts.judges import Detections
from silmm.errors import DataError, UsageError
from silmm_benchmarks.judges.loading import Placement, broken_weights, load_pretrained
from silmm_benchmarks.judges.options import DetectorOptions
from silmm_benchmarks.judges.weight_files import fingerprint, locate

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

SHORT, LONG = 479, 480
"""Sides of the frame that UniDet's boxes refer to (docs/spec/benchmarks.md 1.6); distances are measured in it."""
_GROUNDED = ("grounding-dino", "mm-grounding-dino")
_QUERIED = ("owlv2", "owlvit")
_LOCAL = {"local_files_only": True, "trust_remote_code": False}
_LABELS_AT_ONCE = 40
"""Labels in one text for Grounding DINO, which reads 256 tokens."""

Found = tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]
"""Scores (n,), indices of the labels (n,), boxes (n, 4) as left, upper, right, lower in 0..1."""


def frame_of(size: tuple[int, int]) -> tuple[int, int]:
    """Return width and height of the official frame of an image: short side 479, long side at most 480."""
    short, long = min(size), max(size)
    framed_short, framed_long = SHORT, int(SHORT * long / short)
    if framed_long > LONG:
        framed_short, framed_long = int(LONG * framed_short / framed_long), LONG
    return (framed_short, framed_long) if size[0] <= size[1] else (framed_long, framed_short)


class TransformersDetector(ABC):
    """A detector with the official frame and form of answers, and an identity that says what it is not."""

    def __init__(
        self, model: Any, processor: Any, labels: Sequence[str], placement: Placement,
        options: DetectorOptions, weights: Mapping[str, str],
    ) -> None:
        """Take the loaded model, its processor and the labels that it is to give."""
        self.model, self.processor, self.placement = model, processor, placement
        self._labels, self._options, self._weights = tuple(labels), options, weights

    @classmethod
    def load(cls, options: DetectorOptions) -> TransformersDetector:
        """Find the weights that the options name and load them.

        Raises:
            DataError: they are missing, broken, or of a model that detects nothing.
            UsageError: a detector that reads text, without labels.
        """
        import transformers

        path, placement = locate("detector", options.weights), Placement.of(options)
        with broken_weights(path):
            config = transformers.AutoConfig.from_pretrained(path, **_LOCAL)
        reads_text = config.model_type in (*_GROUNDED, *_QUERIED)
        auto = "AutoModelForZeroShotObjectDetection" if reads_text else "AutoModelForObjectDetection"
        model = load_pretrained(getattr(transformers, auto), path, placement)
        with broken_weights(path):
            source = transformers.AutoProcessor if reads_text else transformers.AutoImageProcessor
            processor = source.from_pretrained(path, **_LOCAL)
        labels = read_labels(options.labels)
        if reads_text and not labels:
            raise UsageError(f"{path} detects the objects that a text names: give their names with the option labels.")
        kind: type[TransformersDetector] = ClosedDetector
        if config.model_type in _GROUNDED:
            kind = GroundedDetector
        elif config.model_type in _QUERIED:
            kind = QueriedDetector
        else:
            labels = [str(config.id2label[index]) for index in range(len(config.id2label))]
        return kind(model, processor, labels, placement, options, fingerprint(path))

    @property
    def labels(self) -> tuple[str, ...]:
        """The names that it can give."""
        return self._labels

    @property
    def identity(self) -> Mapping[str, str]:
        """Judge, architecture, weights, labels, threshold; and that it is not the official detector."""
        from hashlib import sha256

        return {
            "judge": "detector", "official": "no: the official detector is UniDet",
            "architecture": type(self.model).__name__, "processor": type(self.processor).__name__,
            **self._weights, **self.placement.identity,
            "labels": f"{len(self._labels)}, sha256 {sha256(json.dumps(self._labels).encode()).hexdigest()}",
            "threshold": str(self._options.threshold), "most": str(self._options.most),
            "frame": f"short side {SHORT}, long side at most {LONG}",
        }

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        """Return the detections of each image by descending score; images of one size go together.

        Raises:
            DataError: a score or a box is not finite.
        """
        import torch

        detections: dict[int, Detections] = {}
        with torch.inference_mode():
            for indices in self._of_one_size(images):
                group = [images[index] for index in indices]
                for index, raw in zip(indices, self.find(group), strict=True):
                    detections[index] = self._detections(raw, images[index])
        return [detections[index] for index in range(len(images))]

    @abstractmethod
    def find(self, images: Sequence[Image]) -> list[Found]:
        """Return all detections in images of one size, unfiltered."""

    def _of_one_size(self, images: Sequence[Image]) -> Iterator[list[int]]:
        groups: dict[tuple[int, int], list[int]] = {}
        for index, image in enumerate(images):
            groups.setdefault(image.size, []).append(index)
        for indices in groups.values():
            for part in self.placement.chunks(len(indices)):
                yield indices[part]

    def _detections(self, raw: Found, image: Image) -> Detections:
        scores, labels, boxes = (part.cpu().numpy() for part in raw)
        frame = frame_of(image.size)
        boxes = np.clip(boxes, 0, 1)
        inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)  # the rest lies outside: relations of it are 0/0
        order = np.argsort(-scores, kind="stable")
        good = inside & (scores > self._options.threshold)
        kept = [int(index) for index in order if good[index]][: self._options.most]
        edges = np.array([*frame, *frame], dtype=np.float32)
        return Detections(
            labels=tuple(self._labels[int(labels[i])] for i in kept),
            scores=np.asarray(scores[kept], dtype=np.float32).reshape(-1),
            boxes=np.asarray(boxes[kept], dtype=np.float32).reshape(-1, 4) * edges,
            frame=frame,
        )

    def run(self, inputs: Any) -> Any:
        """Return the model's output for a processor's, logits and boxes as float32.

        Raises:
            DataError: one is not finite; a threshold would take it for no detection.
        """
        import torch

        placed = {
            name: value.to(self.placement.dtype) if torch.is_floating_point(value) else value
            for name, value in inputs.to(self.placement.device).items()
        }
        output = self.model(**placed)
        output.logits, output.pred_boxes = output.logits.float(), output.pred_boxes.float()
        # Grounding DINO gives -inf for the positions behind its text.
        if torch.isnan(output.logits).any() or not torch.isfinite(output.pred_boxes).all():
            raise DataError("the detector's scores are not finite; take dtype=float32, or check its weights.")
        return output


class ClosedDetector(TransformersDetector):
    """RT-DETR, DETR and their like: fixed labels."""

    def find(self, images: Sequence[Image]) -> list[Found]:
        """Return the model's own selection, without a threshold."""
        output = self.run(self.processor(images=list(images), return_tensors="pt"))
        results = self.processor.post_process_object_detection(
            output, threshold=-1.0, target_sizes=[(1, 1)] * len(images)
        )
        return [(result["scores"], result["labels"], result["boxes"]) for result in results]


class QueriedDetector(TransformersDetector):
    """OWL-ViT and OWLv2: one text per label."""

    def find(self, images: Sequence[Image]) -> list[Found]:
        """Return the best label of each box; boxes are undone from the square that images are padded to."""
        asked = [list(self.labels)] * len(images)
        inputs = self.processor(images=list(images), text=asked, return_tensors="pt", truncation=True)
        output = self.run(inputs)
        sizes = [(image.height, image.width) for image in images]
        results = self.processor.image_processor.post_process_object_detection(
            output, threshold=-1.0, target_sizes=sizes
        )
        edges = [output.pred_boxes.new_tensor([w, h, w, h]) for h, w in sizes]
        return [
            (result["scores"], result["labels"], result["boxes"] / edge)
            for result, edge in zip(results, edges, strict=True)
        ]


class GroundedDetector(TransformersDetector):
    """Grounding DINO: labels in one text; a label's score is the largest of its tokens'."""

    def find(self, images: Sequence[Image]) -> list[Found]:
        """Return the best label of each box, over as many texts as the labels need."""
        import torch

        parts: list[list[Found]] = [[] for _ in images]
        for first in range(0, len(self.labels), _LABELS_AT_ONCE):
            for index, result in enumerate(self._detect_labels(images, self.labels[first : first + _LABELS_AT_ONCE])):
                parts[index].append((result[0], result[1] + first, result[2]))
        joined = [tuple(map(torch.cat, zip(*result, strict=True))) for result in parts]
        return [(scores, labels, boxes) for scores, labels, boxes in joined]

    def _detect_labels(self, images: Sequence[Image], labels: Sequence[str]) -> list[Found]:
        import torch

        text = ". ".join(label.lower() for label in labels) + "."
        inputs = self.processor(images=list(images), text=[text] * len(images), return_tensors="pt")
        spans = self._spans(inputs["input_ids"][0].tolist(), labels)
        output = self.run(inputs)
        chances = output.logits.sigmoid()
        scores = torch.stack([chances[..., span].amax(-1) for span in spans], -1)
        best = scores.max(-1)
        centre, extent = output.pred_boxes.split(2, -1)
        boxes = torch.cat([centre - extent / 2, centre + extent / 2], -1)
        return list(zip(best.values, best.indices, boxes, strict=True))

    def _spans(self, ids: Sequence[int], labels: Sequence[str]) -> list[list[int]]:
        """Return the positions of each label's tokens in the text.

        Raises:
            DataError: the labels do not fit into the text.
        """
        tokenizer = self.processor.tokenizer
        stop, specials = tokenizer.convert_tokens_to_ids("."), set(tokenizer.all_special_ids)
        spans: list[list[int]] = [[]]
        for position, token in enumerate(ids):
            if token == stop:
                spans.append([])
            elif token not in specials:
                spans[-1].append(position)
        filled = [span for span in spans if span]
        limit = int(self.model.config.max_text_len)
        if len(filled) != len(labels) or len(ids) > limit:
            raise DataError(
                f"{len(labels)} labels became {len(filled)} in a text of {len(ids)} tokens (at most {limit}); "
                "shorten the labels."
            )
        return filled


def read_labels(text: str) -> list[str]:
    """Return the names of a JSON list file, or of a comma list.

    Raises:
        DataError: the file is not a JSON list of names, or a name is empty or holds a full stop.
    """
    path = Path(text).expanduser()
    if text.endswith(".json"):
        from silmm_benchmarks.data.text import read_json

        names = read_json(path)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f"{path} is not a JSON list of names.")
    else:
        names = text.split(",") if text.strip() else []
    labels = list(dict.fromkeys(name.strip() for name in names))
    bad = [name for name in labels if not name or "." in name]
    if bad:
        raise DataError(f"the label {bad[0]!r} is empty or holds a full stop, which ends one; correct it.")
    return labels
