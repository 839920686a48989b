"""BLIP's VQA models as TIFA asks them: the image at their own 384 pixels, a greedy answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from silmm.contracts.judges import Question
from silmm_benchmarks.judges.vqa.free_answers import LONGEST_ANSWER, FreeAnswers

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


class BlipAnswers(FreeAnswers):
    """`Salesforce/blip-vqa-base` and `-capfilt-large` (docs/spec/benchmarks.md 2.3)."""

    decoding = f"greedy, {LONGEST_ANSWER} tokens, [CLS] in front as transformers has it"
    model_class = "BlipForQuestionAnswering"

    def encode_images(self, images: Sequence[Image]) -> Sequence[Any]:
        """Return the image states, (images, 577, width)."""
        states: torch.Tensor = self.model.vision_model(pixel_values=self.pixels(images)).last_hidden_state
        return list(states)

    def answer_questions(self, image_state: Any, questions: Sequence[Question]) -> list[str]:
        """Answer greedily; questions of one length go together, and nothing is padded.

        transformers' own `generate` gives the decoder an all-ones mask, so that padding would be read.
        """
        import torch

        limit = int(self.model.config.text_config.max_position_embeddings)
        texts = [question.text for question in questions]
        rows = self.tokenizer(texts, truncation=True, max_length=limit)["input_ids"]
        config = self.model.config.text_config
        answers = [""] * len(texts)
        for indices, ids in self.by_length(rows):
            states = self.model.text_encoder(
                input_ids=ids, encoder_hidden_states=image_state[None], use_cache=False
            ).last_hidden_state
            start = torch.full((len(indices), 1), config.bos_token_id, device=ids.device)
            written = self.model.text_decoder.generate(
                input_ids=start, attention_mask=torch.ones_like(start), encoder_hidden_states=states,
                encoder_attention_mask=torch.ones(states.shape[:2], dtype=torch.long, device=ids.device),
                eos_token_id=config.sep_token_id, pad_token_id=config.pad_token_id,
                max_length=self.longest_answer, do_sample=False,
            )
            for index, text in zip(indices, self.words(written), strict=True):
                answers[index] = text
        return answers
