"""The form in which a judge's answer is stored, and read back bit for bit.

An answer that is not finite never becomes a number: it is stored as a failure with its reason.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from silmm.bench.judging.answer_store import AnswerStore
from silmm.contracts.judges import Detections
from silmm.errors import DataError


@dataclass(frozen=True)
class Failure:
    """An answer that cannot be used."""

    reason: str


def to_stored(answer: Any, store: AnswerStore) -> Any:
    """Return an answer as JSON can hold it; a depth map goes into a lossless PNG beside the parts."""
    if isinstance(answer, str):
        return answer
    if isinstance(answer, float | list):  # a number, or p(yes) and p(no)
        finite = all(map(math.isfinite, answer if isinstance(answer, list) else [answer]))
        return answer if finite else {"failed": f"not finite: {answer}"}
    if isinstance(answer, Detections):
        if not (np.isfinite(answer.scores).all() and np.isfinite(answer.boxes).all()):
            return {"failed": "not finite: scores or boxes"}
        return {
            "labels": list(answer.labels),
            "scores": [float(score) for score in answer.scores],
            "boxes": [[float(edge) for edge in box] for box in answer.boxes],
            "frame": list(answer.frame),
            **({"masks": list(answer.masks)} if answer.masks else {}),
        }
    depth = np.asarray(answer)
    if depth.dtype != np.uint8 or depth.ndim != 2:
        return {"failed": f"no 8-bit map but {depth.dtype} of shape {depth.shape}"}
    return {"blob": store.keep_blob(_png(depth), ".png")}


def from_stored(value: Any, store: AnswerStore) -> Any:
    """Return a stored answer in the form of its role (:class:`~silmm.contracts.benchmarks.JudgedImage`).

    An answer that could not be stored comes back as a :class:`Failure`.

    Raises:
        DataError: what is stored has none of these forms, or a depth map is missing or damaged.
    """
    if not isinstance(value, dict):
        return value
    if "failed" in value:
        return Failure(str(value["failed"]))
    try:
        if "blob" in value:
            return _map(store.blob(str(value["blob"])))
        width, height = value["frame"]
        return Detections(
            labels=tuple(map(str, value["labels"])),
            scores=np.array(value["scores"], dtype=np.float32),
            boxes=np.array(value["boxes"], dtype=np.float32).reshape(-1, 4),
            frame=(int(width), int(height)),
            masks=tuple(map(str, value.get("masks", ()))),
        )
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise _malformed(store.folder, error) from error


def _malformed(folder: Path, error: Exception) -> DataError:
    return DataError(
        f"{folder} holds an answer of an unknown form ({error!r}). Delete this folder and run the same command "
        "again: this judge is asked again."
    )


def _png(depth: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    from PIL import Image as Pillow

    buffer = io.BytesIO()
    Pillow.fromarray(depth).save(buffer, format="PNG")
    return buffer.getvalue()


def _map(data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    from PIL import Image as Pillow

    with Pillow.open(io.BytesIO(data), formats=("PNG",)) as image:
        return np.asarray(image, dtype=np.uint8)
