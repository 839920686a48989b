"""P(yes) of BLIP-VQA about an image's phrases: the image encoded once, or as the official script does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from PIL.Image import Image
from silmm_benchmarks.judges.vqa.blip_vqa import BlipVqa

from benchmarks.perf import blip_workload, measure

PASSES = 8
"""The official script's: one for each phrase that a prompt may have; a missing one is asked as empty text."""
CASES = ((2, 2), (2, 4))
"""(n_images, phrases of each): two phrases is what most of T2I-CompBench++'s prompts have."""
TOLERANCE = 1e-5
"""Of a probability: float32 sums in another order."""

Answers = npt.NDArray[np.float64]
Way = Callable[[BlipVqa, Sequence[Image], Sequence[str]], Answers]


def once(judge: BlipVqa, images: Sequence[Image], asked: Sequence[str]) -> Answers:
    """Answer as the judge does: each image encoded once for its phrases, (n_images * phrases,)."""
    return np.concatenate(judge.p_yes(images, [asked] * len(images)))


def again(judge: BlipVqa, images: Sequence[Image], asked: Sequence[str]) -> Answers:
    """Ask one phrase at a time and encode the image again for each."""
    return np.concatenate([judge.p_yes([image], [[text]])[0] for image in images for text in asked])


def official(judge: BlipVqa, images: Sequence[Image], asked: Sequence[str]) -> Answers:
    """Make eight passes over the images; answers to the empty questions are thrown away."""
    rows = [
        [judge.p_yes([image], [[asked[index] if index < len(asked) else ""]])[0][0] for image in images]
        for index in range(PASSES)
    ]
    return np.array(rows[: len(asked)]).T.reshape(-1)


WAYS: dict[str, Way] = {
    measure.OURS: once,
    "image again for each phrase": again,
    "eight passes, as the official script": official,
}


def compare(judge: BlipVqa, n_images: int, phrases: int, repeats: int) -> measure.Comparison:
    """Check that all ways give the same answers, then time them; an item is an image.

    Raises:
        RuntimeError: two ways answer differently.
    """
    images, asked = blip_workload.images(n_images), blip_workload.questions(phrases)
    answers = {name: way(judge, images, asked) for name, way in WAYS.items()}
    for name, answer in answers.items():
        worst = float(np.abs(answer - answers[measure.OURS]).max())
        if not worst <= TOLERANCE:
            raise RuntimeError(f"{name!r} answers otherwise by {worst:.3g}; its time cannot be compared")
    calls = {name: (lambda way=way: way(judge, images, asked)) for name, way in WAYS.items()}
    return measure.Comparison(
        f"{n_images} n_images, {phrases} phrases each", n_images, measure.interleaved(calls, repeats)
    )


def main() -> None:
    """Print the table."""
    options = measure.arguments(__doc__ or "", repeats=3)
    with blip_workload.random_judge() as judge:
        rows = [compare(judge, n_images, phrases, options.repeats) for n_images, phrases in CASES]
    measure.publish("blip_vqa_speed", "images", "random, real size", rows)


if __name__ == "__main__":
    main()
