"""The judge: answers to yes/no questions about an image that is read once, and chat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from silmm.errors import DataError
from silmm_plugins.models._shared.generation import reply
from silmm_plugins.models._shared.vqa import ImagePrefix
from silmm_plugins.models.emu3 import grammar
from silmm_plugins.models.emu3.language_model import Emu3LM

if TYPE_CHECKING:
    from silmm.contracts.models import ChatRequest
    from silmm_plugins.models.emu3.grammar import Codes
    from silmm_plugins.models.emu3.tokenizer import Emu3Tokenizer

BEFORE = "You are a helpful assistant. USER: "
AFTER = ". ASSISTANT:"
"""The original template closes every turn with a full stop, also after a question mark (3.4)."""
YES = ("yes", " yes", "Yes", " Yes")
NO = ("no", " no", "No", " No")


class Emu3Judge:
    """A language model that reads the codes of images and answers."""

    def __init__(self, model: Emu3LM, tokenizer: Emu3Tokenizer) -> None:
        """Wrap Emu3-Chat, or the policy itself.

        Raises:
            DataError: the vocabulary has no single token for "yes" or for "no".
        """
        self.model = model
        self.tokenizer = tokenizer
        self.yes, self.no = tokenizer.single(YES), tokenizer.single(NO)
        if not (self.yes and self.no):
            raise DataError("the judge's tokenizer has no single token for yes or for no; is it Emu3's?")

    # -- images ------------------------------------------------------------------------------------

    def image_ids(self, codes: Codes) -> list[int]:
        """Return the ids up to the end of the image, which all its questions share."""
        tokens = self.tokenizer.tokens
        opening = grammar.opening(self.tokenizer, *codes.shape)
        rows = grammar.body(tokens, codes)
        return [tokens.bos, *self.tokenizer.encode(BEFORE), *opening, *rows, *grammar.closing(tokens)]

    def question_ids(self, question: str) -> list[int]:
        """Return the ids of a question, up to the beginning of its answer."""
        return self.tokenizer.encode(question + AFTER)

    @torch.inference_mode()
    def image_prefix(self, codes: Codes) -> ImagePrefix:
        """Read an image; its keys and values serve every question."""
        ids = torch.tensor([self.image_ids(codes)], device=self.model.device)
        return ImagePrefix(self.model, self.model.embed(ids))

    @torch.inference_mode()
    def answers(self, codes: Codes, questions: Sequence[str]) -> npt.NDArray[np.float64]:
        """Return p(yes), p(no) of each question about an image, (n, 2), over the whole vocabulary."""
        asked = [self.question_ids(question) for question in questions]
        return self.image_prefix(codes).answers([asked], self.yes, self.no)[0]

    # -- text ----------------------------------------------------------------------------------------

    def chat(self, requests: Sequence[ChatRequest], batch_size: int) -> list[str]:
        """Answer with text, each request from its own seed; image and control tokens are excluded.

        Raises:
            DataError: a request leaves no room for an answer.
        """
        tokens = self.tokenizer.tokens
        choices = torch.tensor([*range(tokens.texts), tokens.eos], device=self.model.device)
        return reply(
            self.model, requests, self.chat_ids, self.tokenizer.decode, owner="the judge of emu3",
            batch_size=batch_size, stop=tokens.eos,
            logits=lambda states: self.model.logits(states)[:, choices], choices=choices,
        )  # fmt: skip

    def chat_ids(self, request: ChatRequest) -> list[int]:
        """Return the ids of a request: instruction, examples and input as one turn."""
        parts = [request.instruction] if request.instruction else []
        parts += [f"Input: {text}\nOutput: {answer}" for text, answer in request.examples]
        parts.append(f"Input: {request.input}\nOutput" if request.examples else request.input)
        turn = BEFORE + "\n".join(parts) + AFTER
        return [self.tokenizer.tokens.bos, *self.tokenizer.encode(turn)]
