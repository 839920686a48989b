"""DreamLLM's conversation template, Vicuna 1.1 as its evaluation code writes it (docs/spec/base-models.md 1.3)."""

from __future__ import annotations

from silmm.contracts.models import ChatRequest

SYSTEM = (
    " A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the user's questions."
)
"""With the space in front that the evaluation code has."""
USER = " USER: "
ASSISTANT = " ASSISTANT:"


def turns(request: ChatRequest) -> list[str]:
    """Return the texts of a conversation: all but the last are closed by </s>, the last is to be answered.

    Each in-context example is an earlier turn; the instruction stands in every turn, before its input.
    """

    def asked(text: str) -> str:
        return f"{request.instruction}\n{text}" if request.instruction else text

    before = [f"USER: {asked(given)}{ASSISTANT} {answer}" for given, answer in request.examples]
    texts = [*before, f"USER: {asked(request.input)}{ASSISTANT}"]
    return [f"{SYSTEM} {texts[0]}", *texts[1:]]


def question(text: str) -> str:
    """Return what follows an image."""
    return f"{text}{ASSISTANT}"
