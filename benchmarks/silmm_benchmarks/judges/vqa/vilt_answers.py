"""ViLT's VQA model as TIFA asks it: the likeliest of its 3,129 answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from silmm.contracts.judges import Question
from silmm_benchmarks.judges.vqa.free_answers import FreeAnswers

if TYPE_CHECKING:
    from PIL.Image import Image


class ViltAnswers(FreeAnswers):
    """`dandelin/vilt-b32-finetuned-vqa` (docs/spec/benchmarks.md 2.3)."""

    decoding = "the likeliest label; questions are cut at the model's positions (40 tokens)"
    model_class = "ViltForQuestionAnswering"

    def encode_images(self, images: Sequence[Image]) -> Sequence[Any]:
        """Return each image's pixels and mask; alone, so that none is padded to another's size."""
        return [self.processor(images=[image], return_tensors="pt") for image in images]

    def answer_questions(self, image_state: Any, questions: Sequence[Question]) -> list[str]:
        """Answer all questions of the image in one pass: text and image are read together."""
        import torch

        placement = self.placement
        tokens = self.tokenizer(
            [question.text for question in questions], padding=True, truncation=True,
            max_length=int(self.model.config.max_position_embeddings), return_tensors="pt",
        ).to(placement.device)
        pixels = image_state["pixel_values"].to(placement.device, placement.dtype).expand(len(questions), -1, -1, -1)
        mask = image_state["pixel_mask"].to(placement.device).expand(len(questions), -1, -1)
        # The model shuffles its patches; a seed of its own makes that the same in every batch.
        with torch.random.fork_rng(devices=[placement.device] if placement.device.type == "cuda" else []):
            torch.manual_seed(0)
            logits = self.model(**tokens, pixel_values=pixels, pixel_mask=mask).logits
        labels = self.model.config.id2label
        return [str(labels[int(best)]) for best in logits.argmax(-1)]
