"""N questions about an image that is encoded once, against encoding it again for each question."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from silmm_plugins.models.tiny_discrete.model import TinyDiscrete

from benchmarks.perf import measure, workload
from silmm.contracts.models import Image

CASES = ((1, 1), (1, 4), (1, 8), (1, 16), (32, 1), (32, 4), (32, 8), (32, 16))
"""(n_images, questions about each)."""
TOLERANCE = 2e-4
"""Of a probability: float32 sums in another order, after six layers."""


def once(model: TinyDiscrete, images: Sequence[Image], asked: Sequence[str]) -> npt.NDArray[np.float64]:
    """Answer as the loop does: all questions of all n_images in one call, (n_images * N, 2)."""
    return np.concatenate(model.yes_no(images, [asked] * len(images)))


def one_by_one(
    model: TinyDiscrete, images: Sequence[Image], asked: Sequence[str]
) -> npt.NDArray[np.float64]:
    """Answer one question at a time, the image encoded for each."""
    return np.concatenate([model.yes_no([image], [[text]])[0] for image in images for text in asked])


def repeated(model: TinyDiscrete, images: Sequence[Image], asked: Sequence[str]) -> npt.NDArray[np.float64]:
    """Answer in one batch in which each question brings its own copy of the image."""
    copies = [image for image in images for _ in asked]
    return np.concatenate(model.yes_no(copies, [[text] for _ in images for text in asked]))


WAYS = {measure.OURS: once, "image again, in one batch": repeated, "image again, one by one": one_by_one}


def compare(model: TinyDiscrete, n_images: int, count: int, repeats: int) -> measure.Comparison:
    """Check that all ways give the same answers, then time them.

    Raises:
        RuntimeError: two ways answer differently.
    """
    images, asked = workload.images(model, n_images), workload.questions(count)
    answers = {name: way(model, images, asked) for name, way in WAYS.items()}
    for name, answer in answers.items():
        worst = float(np.abs(answer - answers[measure.OURS]).max())
        if not worst <= TOLERANCE:
            raise RuntimeError(f"{name!r} answers otherwise by {worst:.3g}; its time cannot be compared")
    calls = {name: (lambda way=way: way(model, images, asked)) for name, way in WAYS.items()}
    case = f"{n_images} image{'s' * (n_images > 1)}, {count} question{'s' * (count > 1)}"
    return measure.Comparison(case, n_images * count, measure.interleaved(calls, repeats))


def main() -> None:
    """Print the table."""
    options = measure.arguments(__doc__ or "", repeats=9)
    model, weights = workload.load_model()
    rows = [compare(model, n_images, count, options.repeats) for n_images, count in CASES]
    measure.publish("image_prefix", "answers", weights, rows)


if __name__ == "__main__":
    main()
