"""A tiny random model that replies by rules, to test what components make of replies."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from silmm.contracts.models import ChatRequest
from tests.toy.tiny_random import TinyRandom

LISTS = {
    "shapes": ("circle", "square", "cross", "triangle"),
    "colors": ("red", "orange", "blue", "green"),
    "textures": ("striped", "dotted"),
    "relations": ("on the left of", "above", "in front of", "behind", "touching"),
    "numbers": ("one", "two", "three"),
    "animals": ("dog", "ox", "fox"),
}
SHAPE_ADJECTIVES = ("round", "oblong")


class Talker(TinyRandom):
    """Lists its own few words in random order, writes by grammar, splits prompts at "and"."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[ChatRequest] = []
        self.writes_badly = False

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        """Answer each task by rule; randomness comes from the request's seed."""
        self.requests += requests
        return [getattr(self, f"_{request.task}")(request) for request in requests]

    def _list(self, request: ChatRequest) -> str:
        words = LISTS.get(request.input, ())
        rng = Random(request.seed)
        return " , ".join(rng.sample(words, max(1, len(words) - 1))) if words else ""

    def _write(self, request: ChatRequest) -> str:
        rng = Random(request.seed)
        if self.writes_badly:
            return rng.choice(["", "a a circle", "circle", "a red\nblue square", "a <eos> b"])
        color, shape = rng.sample(LISTS["colors"], 2), rng.sample(LISTS["shapes"], 2)
        return f"a {color[0]} {shape[0]} touching a {color[1]} {shape[1]}"

    def _decompose(self, request: ChatRequest) -> str:
        return " ; ".join(part.strip() for part in request.input.split(" and "))

    def _question(self, request: ChatRequest) -> str:
        return f"is there {request.input} ?"
