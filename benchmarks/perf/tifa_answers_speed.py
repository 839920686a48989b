"""Free answers of BLIP VQA to TIFA-like questions: the image encoded once, or again for each question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL.Image import Image
from silmm_benchmarks.judges.loading import Placement
from silmm_benchmarks.judges.vqa.blip_answers import BlipAnswers
from transformers import BertTokenizer, BlipConfig, BlipForQuestionAnswering, BlipImageProcessorPil

from benchmarks.perf import blip_workload, measure
from silmm.contracts.judges import Question

CASES = ((2, 6),)
"""(n_images, questions about each): TIFA has 6.3 a caption."""
WORDS = 2
"""Tokens that an answer has here: random weights would never end, trained ones answer in a word."""


@contextmanager
def random_judge(
    *, hidden: int = 768, layers: int = 12, heads: int = 12, image: int = 384
) -> Iterator[BlipAnswers]:
    """Give a judge of BLIP VQA's architecture with random weights, by default of its real sizes."""
    sizes = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
             "intermediate_size": 4 * hidden}
    text = {**sizes, "encoder_hidden_size": hidden, "projection_dim": hidden}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(blip_workload.SEED)
        model = BlipForQuestionAnswering(
            BlipConfig(text_config=text, vision_config={**sizes, "image_size": image, "patch_size": 16})
        ).eval()
    with TemporaryDirectory() as folder:
        blip_workload.write_vocabulary(Path(folder) / "vocab.txt")
        tokenizer = BertTokenizer.from_pretrained(folder)
        processor = BlipImageProcessorPil(size={"height": image, "width": image})
        placement = Placement(torch.device("cpu"), torch.float32, 8)
        judge = BlipAnswers("blip-vqa-base", model, tokenizer, processor, placement, {})
        judge.longest_answer = WORDS
        yield judge


def once(judge: BlipAnswers, images: Sequence[Image], asked: Sequence[Question]) -> list[str]:
    """Answer as the judge does: each image encoded once, its questions in batches of one length."""
    return [text for group in judge.answer(images, [asked] * len(images)) for text in group]


def again(judge: BlipAnswers, images: Sequence[Image], asked: Sequence[Question]) -> list[str]:
    """Ask one question at a time and encode the image again for each, as the official script does."""
    return [judge.answer([image], [[question]])[0][0] for image in images for question in asked]


WAYS = {measure.OURS: once, "image again for each question": again}


def compare(judge: BlipAnswers, n_images: int, count: int, repeats: int) -> measure.Comparison:
    """Check that both ways give the same words, then time them; an item is a question.

    Raises:
        RuntimeError: the two ways answer differently.
    """
    images = blip_workload.images(n_images)
    asked = [Question(text) for text in blip_workload.questions(count)]
    answers = {name: way(judge, images, asked) for name, way in WAYS.items()}
    for name, answer in answers.items():
        if answer != answers[measure.OURS]:
            raise RuntimeError(f"{name!r} answers otherwise; its time cannot be compared")
    calls = {name: (lambda way=way: way(judge, images, asked)) for name, way in WAYS.items()}
    return measure.Comparison(
        f"{n_images} n_images, {count} questions each", n_images * count, measure.interleaved(calls, repeats)
    )


def main() -> None:
    """Print the table."""
    options = measure.arguments(__doc__ or "", repeats=3)
    with random_judge() as judge:
        rows = [compare(judge, n_images, count, options.repeats) for n_images, count in CASES]
    measure.publish("tifa_answers_speed", "answers", "random, real size", rows)


if __name__ == "__main__":
    main()
