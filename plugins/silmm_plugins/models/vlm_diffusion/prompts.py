"""Qwen's prompts: ChatML around the texts of users and models, in which special tokens are plain text."""

from __future__ import annotations

from typing import Any

from silmm.contracts.models import ChatRequest
from silmm.errors import DataError

SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
USER, ASSISTANT, END = "<|im_start|>user\n", "<|im_start|>assistant\n", "<|im_end|>"
IMAGE, IMAGE_START, IMAGE_END = "<|image_pad|>", "<|vision_start|>", "<|vision_end|>"
YES, NO = ("Yes", "yes", " Yes", " yes"), ("No", "no", " No", " no")
"""Beginnings of an answer; those count that are single tokens of the vocabulary."""


class QwenPrompts:
    """Texts as token ids and back."""

    def __init__(self, tokenizer: Any, template: str, start: int) -> None:
        """Wrap a tokenizer.

        Args:
            tokenizer: the pipeline's.
            template: the pipeline's template, with `{}` for the prompt.
            start: number of the template's first tokens, which are not part of H.

        Raises:
            DataError: the tokenizer lacks a token.
        """
        self._tokenizer = tokenizer
        self._template, self.start = template, start
        ids = {name: self.single(name) for name in (END, IMAGE, IMAGE_START, IMAGE_END, "<|im_start|>")}
        missing = [name for name, token in ids.items() if token is None]
        if missing:
            raise DataError(
                f"{tokenizer.name_or_path}: the tokenizer has no {', '.join(missing)}; expected that of a "
                "Qwen2.5-VL model"
            )
        self.end, self.image = int(ids[END] or 0), int(ids[IMAGE] or 0)
        self.yes = self._singles(YES)
        self.no = self._singles(NO)

    def single(self, text: str) -> int | None:
        """Return the id of a text that is one token, else None."""
        ids = self._tokenizer(text).input_ids
        return int(ids[0]) if len(ids) == 1 else None

    def _singles(self, forms: tuple[str, ...]) -> list[int]:
        tokens = sorted({token for token in map(self.single, forms) if token is not None})
        if not tokens:
            raise DataError(
                f"{self._tokenizer.name_or_path}: none of {', '.join(map(repr, forms))} is a single token, "
                "so yes/no answers cannot be read"
            )
        return tokens

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, in which special tokens are recognised; see :func:`plain`."""
        return list(map(int, self._tokenizer(text).input_ids))

    def decode(self, ids: list[int]) -> str:
        """Return the text of ids without special tokens."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def prompt(self, prompt: str) -> list[int]:
        """Return the pipeline's ids of a prompt."""
        return self.encode(self._template.format(plain(prompt)))

    def conversation(self, request: ChatRequest) -> list[int]:
        """Return the ids of a chat request; each example is an earlier turn, under the same instruction."""

        def turn(text: str) -> str:
            content = f"{request.instruction}\n{text}" if request.instruction else text
            return f"{USER}{plain(content)}{END}\n"

        before = "".join(f"{turn(text)}{ASSISTANT}{plain(answer)}{END}\n" for text, answer in request.examples)
        return self.encode(SYSTEM + before + turn(request.input) + ASSISTANT)

    def before_question(self, tokens: int) -> list[int]:
        """Return the ids before a question, with placeholders for `tokens` tokens of an image."""
        return self.encode(self.before_question_text(IMAGE * tokens))

    def before_question_text(self, image: str) -> str:
        """Return the text before a question, with `image` for the image."""
        return f"{SYSTEM}{USER}{IMAGE_START}{image}{IMAGE_END}"

    def question(self, text: str) -> list[int]:
        """Return the ids of a question, up to the beginning of its answer."""
        return self.encode(self.question_text(text))

    def question_text(self, text: str) -> str:
        """Return the text of a question, up to the beginning of its answer."""
        return f"{plain(text)}{END}\n{ASSISTANT}"


def plain(text: str) -> str:
    """Return a text without the spelling of a special token."""
    return text.replace("<|", "< |")
