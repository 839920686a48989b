"""SEED-LLaMA's prompts: the three templates of its releases (docs/spec/base-models.md 2.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from silmm.contracts.models import ChatRequest
from silmm_plugins.models.seed_llama.tokenizer import BOI, CODE, EOI

Name = Literal["8b", "14b", "pretrain"]

_REQUEST = "Please generate an image of {prompt}."
"""One of the wordings of the instruction data."""
_REPLY = " Here is an image."
"""Replaces the sentence that the model would write before an image."""
_WIDTH_14B = 5120


@dataclass(frozen=True)
class Template:
    """The text around a turn; an image comes before the words of the turn."""

    name: Name
    before: str
    after: str
    ask: str = "{text}"
    """The wording of a turn with a question or a request."""
    instructed: bool = True
    """Whether images are requested in words; else the caption alone comes before an image."""

    def sampling(self, prompt: str) -> str:
        """Return the text before an image's codes, ``<img>`` included."""
        if not self.instructed:
            return f"{self.before}{prompt}{BOI}"
        request = _REQUEST.format(prompt=prompt.strip().rstrip(". "))
        return f"{self.before}{request}{self.after}{_REPLY}{BOI}"

    def image_turn(self, codes: list[int]) -> str:
        """Return the beginning of a turn about an image of these codes, up to ``</img>``."""
        return f"{self.before}{BOI}{''.join(map(CODE.format, codes))}{EOI}"

    def question(self, text: str) -> str:
        """Return the text behind :meth:`image_turn`; the answer comes next."""
        return self.ask.format(text=text) + self.after

    def chat(self, request: ChatRequest) -> str:
        """Return a turn with the instruction, the examples and the input; the answer comes next."""
        examples = "".join(f"Input: {text}\nOutput: {answer}\n" for text, answer in request.examples)
        start = f"{request.instruction}\n" if request.instruction else ""
        end = f"Input: {request.input}\nOutput:" if examples else request.input
        return self.before + self.ask.format(text=start + examples + end) + self.after


TEMPLATES: Mapping[Name, Template] = MappingProxyType({
    "8b": Template("8b", "<s>USER: ", "\nASSISTANT:"),
    "14b": Template("14b", "<s>[INST] ", " [/INST]\n"),
    "pretrain": Template("pretrain", "<s>", "\nAnswer:", ask="Question: {text}", instructed=False),
})
"""8B and 14B come from different language models: Vicuna, and LLaMA2-chat."""


def template_of(folder: str, width: int) -> Template:
    """Return the template of a release by its folder's name and the width of its language model."""
    if "pretrain" in folder.lower():
        return TEMPLATES["pretrain"]
    return TEMPLATES["14b" if width == _WIDTH_14B or "14b" in folder.lower() else "8b"]
