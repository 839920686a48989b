"""BLIP-2 with Flan-T5-XL as TIFA asks it: the only one of its models that is shown the choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from silmm.contracts.judges import Question
from silmm_benchmarks.judges.vqa.free_answers import FreeAnswers

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

BEAMS = 5
LONGEST = 30
"""Beam width and tokens of an answer: the defaults of the library that TIFA calls."""


def prompt(question: Question) -> str:
    """Return the instruction, with the choices where there are some (docs/spec/benchmarks.md 2.3)."""
    if question.choices:
        choices = ", ".join(question.choices)
        return f"Answer the multiple-choice question. Question: {question.text} Choices: {choices} Answer:"
    return f"Answer the question. Question: {question.text} Answer:"


class Blip2Answers(FreeAnswers):
    """`Salesforce/blip2-flan-t5-xl`, a near equivalent of the LAVIS model (docs/spec/benchmarks.md 2.3)."""

    decoding = f"beam {BEAMS}, {LONGEST} tokens, choices shown; HF conversion, not the LAVIS model"
    model_class = "Blip2ForConditionalGeneration"

    def encode_images(self, images: Sequence[Image]) -> Sequence[Any]:
        """Return the query states in the language model's width, (image_embeddings, 32, width)."""
        states: torch.Tensor = self.model.get_image_features(pixel_values=self.pixels(images)).pooler_output
        return list(states)

    def answer_questions(self, image_state: Any, questions: Sequence[Question]) -> list[str]:
        """Put the image's states before each prompt; a T5 encoder reads a masked batch like single rows."""
        import torch

        tokens = self.tokenizer([prompt(question) for question in questions], padding=True, return_tensors="pt")
        tokens = tokens.to(self.placement.device)
        embedded = self.model.get_input_embeddings()(tokens["input_ids"])
        image_embeddings = image_state[None].to(embedded.dtype).expand(len(questions), -1, -1)
        mask = torch.cat([tokens["input_ids"].new_ones(image_embeddings.shape[:2]), tokens["attention_mask"]], 1)
        written = self.model.language_model.generate(
            inputs_embeds=torch.cat([image_embeddings, embedded], 1), attention_mask=mask,
            num_beams=BEAMS, max_new_tokens=LONGEST, do_sample=False,
        )
        return self.words(written)
