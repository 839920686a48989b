"""Yes/no questions to Janus: each image read once, against one whole forward pass for each question."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from silmm_plugins.models.janus.model import Janus
from silmm_plugins.models.janus.options import JanusOptions

from benchmarks.perf import janus_random, measure
from silmm.contracts.models import Image

CASES = ((1, 1), (1, 5), (1, 10), (4, 5), (4, 10))
"""(images, questions about each)."""
SIZES = janus_random.Sizes(
    hidden=512, layers=8, heads=8, mlp=1408, tower=256, tower_layers=6, tower_heads=4, side=384, patch=16
)
"""The shape of Janus-Pro, 576 image tokens of a 384 pixel image, at a quarter of the 1B model's width."""
TOLERANCE = 1e-3
"""Of a probability's logarithm, for random weights leave yes and no little: float32 sums in another order."""
_QUESTIONS = (
    "Is there a cat?",
    "Is the red cube on the left of the blue sphere?",
    "Are there three green pears on the table? Answer yes or no.",
    "Is it night?",
    "Does the boy in the red coat fly a kite over the hill?",
)


def random_model(sizes: janus_random.Sizes = SIZES, seed: int = 0) -> Janus:
    """Return Janus with random weights: what an answer costs does not depend on them."""
    with tempfile.TemporaryDirectory() as folder:
        path = janus_random.write(Path(folder), sizes, seed)
        return Janus.load(JanusOptions(path=str(path), device="cpu", dtype="float32", vqa_batch_size=4))


def random_images(model: Janus, count: int) -> list[Image]:
    """Return images of noise of the size that the model looks at."""
    rng = np.random.default_rng(0)
    side = model.processor.side
    return [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(count)]


def questions(count: int) -> list[str]:
    """Return distinct questions of unequal length."""
    return [f"{_QUESTIONS[i % len(_QUESTIONS)]} ({i})" for i in range(count)]


def once(model: Janus, images: Sequence[Image], asked: Sequence[str]) -> npt.NDArray[np.float64]:
    """Answer as the loop does, (images * questions, 2)."""
    return np.concatenate(model.yes_no(images, [asked] * len(images)))


@torch.inference_mode()
def whole_passes(model: Janus, images: Sequence[Image], asked: Sequence[str]) -> npt.NDArray[np.float64]:
    """Answer by the stock class, one forward pass over image and question for each answer."""
    words = model.prompts
    image_tokens = [words.image] * (model.network.stock.config.vision_config.num_image_tokens)
    rows = []
    for image in images:
        for text in asked:
            ids = torch.tensor([[*words.before_image(), *image_tokens, *words.question(text)]])
            pixels = model.processor.pixels([image])
            out = model.network.stock(input_ids=ids, pixel_values=pixels, logits_to_keep=1)
            p = out.logits[0, -1].double().softmax(-1)
            rows.append([float(p[words.yes].sum()), float(p[words.no].sum())])
    return np.array(rows)


WAYS = {measure.OURS: once, "a whole pass for each question": whole_passes}


def compare(model: Janus, count: int, asked: int, repeats: int) -> measure.Comparison:
    """Check that both ways give the same probabilities, then time them.

    Raises:
        RuntimeError: they differ.
    """
    images, texts = random_images(model, count), questions(asked)
    answers = {name: np.log(way(model, images, texts)) for name, way in WAYS.items()}
    worst = max(float(np.abs(answer - answers[measure.OURS]).max()) for answer in answers.values())
    if not worst <= TOLERANCE:
        raise RuntimeError(f"the two ways differ by {worst:.3g} in log p; their times cannot be compared")
    calls = {name: (lambda way=way: way(model, images, texts)) for name, way in WAYS.items()}
    case = f"{count} image{'s' * (count > 1)}, {asked} question{'s' * (asked > 1)}"
    return measure.Comparison(case, count * asked, measure.interleaved(calls, repeats))


def main() -> None:
    """Print the table."""
    options = measure.arguments(__doc__ or "", repeats=5)
    model = random_model()
    rows = [compare(model, images, asked, options.repeats) for images, asked in CASES]
    measure.publish("vqa_prefix", "answers", "random", rows)


if __name__ == "__main__":
    main()
