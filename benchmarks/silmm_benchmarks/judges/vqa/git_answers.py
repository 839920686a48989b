"""GIT's VQA models as TIFA asks them: the answer is what the model writes behind the question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from silmm.contracts.judges import Question
from silmm_benchmarks.judges.vqa.free_answers import LONGEST_ANSWER, FreeAnswers

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image


class GitAnswers(FreeAnswers):
    """`microsoft/git-base-vqav2` and `-large-` (docs/spec/benchmarks.md 2.3)."""

    decoding = f"greedy, [CLS] and the question, {LONGEST_ANSWER} tokens with it, question taken off"
    model_class = "GitForCausalLM"

    def encode_images(self, images: Sequence[Image]) -> Sequence[Any]:
        """Return each image's encoder output, (1, patches, width)."""
        return list(self.model.git.image_encoder(self.pixels(images)).last_hidden_state.split(1))

    def answer_questions(self, image_state: Any, questions: Sequence[Question]) -> list[str]:
        """Answer greedily; questions of one length go together, because positions count from the left."""
        import torch

        plain = self.tokenizer([q.text for q in questions], add_special_tokens=False)["input_ids"]
        limit = int(self.model.config.max_position_embeddings) - 1
        rows = [[self.tokenizer.cls_token_id, *ids][:limit] for ids in plain]
        answers = [""] * len(rows)
        encoder = self.model.git.image_encoder
        try:
            # The model encodes the image inside each call; here it is encoded already.
            self.model.git.image_encoder = _encoder_that_gives(image_state)
            for indices, ids in self.by_length(rows):
                length = ids.shape[1]
                written = self.model.generate(
                    pixel_values=torch.zeros(1, 3, 1, 1, device=ids.device), input_ids=ids,
                    attention_mask=torch.ones_like(ids), do_sample=False,
                    max_new_tokens=min(max(1, self.longest_answer - length), limit + 1 - length),
                )
                for index, text in zip(indices, self.words(written[:, length:]), strict=True):
                    answers[index] = text
        finally:
            self.model.git.image_encoder = encoder
        return answers


class _Output:
    """The one field that GIT reads of its encoder's output."""

    def __init__(self, states: torch.Tensor) -> None:
        self.last_hidden_state = states


def _encoder_that_gives(states: torch.Tensor) -> torch.nn.Module:
    """Return a module that gives `states` whatever it is shown."""
    import torch

    class Encoded(torch.nn.Module):
        def forward(self, pixel_values: torch.Tensor, **_: Any) -> _Output:  # noqa: ARG002
            return _Output(states)

    return Encoded()
