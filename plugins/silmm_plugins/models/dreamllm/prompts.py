"""DreamLLM's conversation template, Vicuna 1.1 as in its evaluation code (docs/spec/base-models.md 1.3)."""

from __future__ import annotations

from silmm.contracts.models import ChatRequest

SYSTEM = (
    " A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions."
)
"""With a leading space, as in the evaluation code."""
USER = " USER: "
ASSISTANT = " ASSISTANT:"


def turns(request: ChatRequest) -> list[str]:
    """Return the texts of a conversation: all but the last end with </s>, the last is to be answered.

    Each in-context example is an earlier turn; every turn begins with the instruction.
    """

    def turn(text: str) -> str:
        return f"{request.instruction}\n{text}" if request.instruction else text

    before = [f"USER: {turn(text)}{ASSISTANT} {answer}" for text, answer in request.examples]
    texts = [*before, f"USER: {turn(request.input)}{ASSISTANT}"]
    return [f"{SYSTEM} {texts[0]}", *texts[1:]]


def question(text: str) -> str:
    """Return the text behind an image."""
    return f"{text}{ASSISTANT}"
