"""The work on which BLIP is timed: its architecture with random weights, images, questions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from silmm_benchmarks.judges.loading import Placement
from silmm_benchmarks.judges.vqa.blip_checkpoint import SIZE, Parts
from silmm_benchmarks.judges.vqa.blip_vqa import DECODE, NO, YES, BlipVqa
from transformers import BlipTextConfig, BlipTextLMHeadModel, BlipTextModel, BlipVisionConfig, BlipVisionModel

SEED = 0
NOUNS = ("cube", "sphere", "vase", "dog", "car", "bench", "apple", "book")
COLORS = ("red", "green", "blue", "metallic")


@contextmanager
def random_judge(
    *, hidden: int = 768, layers: int = 12, heads: int = 12, batch: int = 8
) -> Iterator[BlipVqa]:
    """Give a BLIP-VQA judge with random weights, by default of the real sizes (480 px, 901 tokens).

    What an answer costs does not depend on the weights, nor on which words the vocabulary holds.
    """
    sizes = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
             "intermediate_size": 4 * hidden}
    text = {**sizes, "encoder_hidden_size": hidden, "vocab_size": DECODE + 2, "projection_dim": hidden}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        parts = Parts(
            vision=BlipVisionModel(BlipVisionConfig(**sizes, image_size=SIZE, patch_size=16)).eval(),
            encoder=BlipTextModel(BlipTextConfig(**text), add_pooling_layer=False).eval(),
            decoder=BlipTextLMHeadModel(BlipTextConfig(**text)).eval(),
            interpolate=False, source="random",
        )
    with TemporaryDirectory() as folder:
        vocabulary = write_vocabulary(Path(folder) / "vocab.txt")
        yield BlipVqa(parts, vocabulary, Placement(torch.device("cpu"), torch.float32, batch), {})


def images(count: int) -> list[Image.Image]:
    """Return noise images of 512 pixels, as text-to-image models sample them."""
    rng = np.random.default_rng(SEED)
    return [Image.fromarray(rng.integers(0, 256, (512, 512, 3), dtype=np.uint8)) for _ in range(count)]


def questions(count: int) -> list[str]:
    """Return different phrases as questions."""
    return [f"a {COLORS[i % len(COLORS)]} {NOUNS[i % len(NOUNS)]}?" for i in range(count)]


def write_vocabulary(path: Path) -> Path:
    """Write a vocabulary of BERT's size with its special tokens, yes and no at their places."""
    lines = [f"[unused{index}]" for index in range(DECODE)]
    fixed = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", YES: "yes", NO: "no"}
    words = ("a", "?", *NOUNS, *COLORS)
    for position, word in {**fixed, **{1000 + index: word for index, word in enumerate(words)}}.items():
        lines[position] = word
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
