"""Qwen's words: ChatML around what users and models say, which never becomes a special token itself."""

from __future__ import annotations

from typing import Any

from silmm.contracts.models import ChatRequest
from silmm.errors import DataError

SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
USER, ASSISTANT, END = "<|im_start|>user\n", "<|im_start|>assistant\n", "<|im_end|>"
IMAGE, SEEN_START, SEEN_END = "<|image_pad|>", "<|vision_start|>", "<|vision_end|>"
YES, NO = ("Yes", "yes", " Yes", " yes"), ("No", "no", " No", " no")
"""How an answer can begin; those count that are single tokens of the vocabulary."""


class QwenPrompts:
    """Text to ids and back."""

    def __init__(self, tokenizer: Any, template: str, start: int) -> None:
        """Wrap a tokenizer.

        Args:
            tokenizer: the pipeline's.
            template: what the pipeline puts around a prompt, with `{}` for the prompt.
            start: how many of the template's first tokens are not part of H.

        Raises:
            DataError: the tokenizer lacks a token that is needed.
        """
        self._tokenizer = tokenizer
        self._template, self.start = template, start
        ids = {name: self.single(name) for name in (END, IMAGE, SEEN_START, SEEN_END, "<|im_start|>")}
        missing = [name for name, token in ids.items() if token is None]
        if missing:
            raise DataError(
                f"{tokenizer.name_or_path}: the tokenizer has no {', '.join(missing)}; expected that of a "
                "Qwen2.5-VL model"
            )
        self.end, self.image = int(ids[END] or 0), int(ids[IMAGE] or 0)
        self.yes = self._known(YES)
        self.no = self._known(NO)

    def single(self, text: str) -> int | None:
        """Return the id of a text that is one token, else None."""
        ids = self._tokenizer(text).input_ids
        return int(ids[0]) if len(ids) == 1 else None

    def _known(self, forms: tuple[str, ...]) -> list[int]:
        found = sorted({token for token in map(self.single, forms) if token is not None})
        if not found:
            raise DataError(
                f"{self._tokenizer.name_or_path}: none of {', '.join(map(repr, forms))} is a single token; "
                "answers to yes/no questions cannot be read"
            )
        return found

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text in which special tokens are special; see :func:`plain`."""
        return list(map(int, self._tokenizer(text).input_ids))

    def decode(self, ids: list[int]) -> str:
        """Return the text of ids without special tokens."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def prompt(self, prompt: str) -> list[int]:
        """Return the ids that the pipeline makes of a prompt."""
        return self.encode(self._template.format(plain(prompt)))

    def conversation(self, request: ChatRequest) -> list[int]:
        """Return the ids of a chat request; each example is an earlier turn, under the same instruction."""

        def asked(text: str) -> str:
            whole = f"{request.instruction}\n{text}" if request.instruction else text
            return f"{USER}{plain(whole)}{END}\n"

        before = "".join(f"{asked(g)}{ASSISTANT}{plain(answer)}{END}\n" for g, answer in request.examples)
        return self.encode(SYSTEM + before + asked(request.input) + ASSISTANT)

    def before_question(self, tokens: int) -> list[int]:
        """Return the ids before a question: a template with an image of so many tokens."""
        return self.encode(self.before_question_text(IMAGE * tokens))

    def before_question_text(self, image: str) -> str:
        """Return the text before a question, with what stands in the image's place."""
        return f"{SYSTEM}{USER}{SEEN_START}{image}{SEEN_END}"

    def question(self, text: str) -> list[int]:
        """Return the ids of a question and what its answer follows."""
        return self.encode(self.question_text(text))

    def question_text(self, text: str) -> str:
        """Return a question and what its answer follows."""
        return f"{plain(text)}{END}\n{ASSISTANT}"


def plain(text: str) -> str:
    """Return a text in which no special token is spelt out."""
    return text.replace("<|", "< |")
