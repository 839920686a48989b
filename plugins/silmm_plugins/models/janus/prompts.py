"""Janus's prompts as token ids: its templates, its special tokens, and the ids of yes and no.

Templates (docs/spec/base-models.md 5.4), BOS before each:

- sampling  ``<|User|>: {prompt}\\n\\n<|Assistant|>:<begin_of_image>``
- question  ``{system}<|User|>: <begin_of_image>…<end_of_image>\\n{question}\\n\\n<|Assistant|>:``
- chat  ``{system}<|User|>: {input}\\n\\n<|Assistant|>: {answer}<eos><|User|>: …\\n\\n<|Assistant|>:``
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from silmm.checkpoint.folders import read_json
from silmm.contracts.models import ChatRequest
from silmm.errors import DataError

SYSTEM = (
    "You are a helpful language and vision assistant. You are able to understand the visual content that the "
    "user provides, and assist the user with a variety of tasks using natural language.\n\n"
)
USER, ASSISTANT = "<|User|>", "<|Assistant|>"
YES = ("yes", "Yes", " yes", " Yes")
NO = ("no", "No", " no", " No")
"""Spellings of the answers; those count that are a single token."""

_TAGS = {
    "image": (("image_token", "image_tag"), "<image_placeholder>"),
    "start": (("boi_token", "image_start_tag"), "<begin_of_image>"),
    "end": (("eoi_token", "image_end_tag"), "<end_of_image>"),
    "bos": (("bos_token",), "<｜begin▁of▁sentence｜>"),
    "eos": (("eos_token",), "<｜end▁of▁sentence｜>"),
    "pad": (("pad_token", "pad_tag"), "<｜▁pad▁｜>"),
}
"""Role -> keys that name the token in tokenizer_config.json or processor_config.json, and its usual name."""


class JanusPrompts:
    """The tokenizer and the templates of a checkpoint folder."""

    def __init__(self, folder: Path) -> None:
        """Read tokenizer.json and the names of the special tokens.

        Raises:
            DataError: a file is missing or damaged, or a token that Janus needs is not in the vocabulary.
        """
        self._path = folder / "tokenizer.json"
        try:
            self._tokenizer = Tokenizer.from_file(str(self._path))
        except Exception as error:  # tokenizers raises bare Exception for a missing and a damaged file
            raise DataError(
                f"{self._path} cannot be read as a tokenizer ({error}); download it again"
            ) from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._tokenizer.encode_special_tokens = True  # a prompt that spells a special token stays text
        names = _names(folder)
        ids = {role: self._id(names[role]) for role in _TAGS}
        self.image, self.start, self.end = ids["image"], ids["start"], ids["end"]
        self.bos, self.eos, self.pad = ids["bos"], ids["eos"], ids["pad"]
        self.yes, self.no = self._single(YES), self._single(NO)

    def sampling(self, prompt: str) -> list[int]:
        """Return the ids before an image's codes, from BOS to the begin-of-image token."""
        return [self.bos, *self._encode(USER, f": {prompt.strip()}\n\n", ASSISTANT, ":"), self.start]

    def unconditional(self, ids: Sequence[int]) -> list[int]:
        """Return the ids for guidance: all but the first and the last become padding, which is attended to."""
        return [ids[0], *[self.pad] * (len(ids) - 2), ids[-1]]

    def before_image(self) -> list[int]:
        """Return the ids before the embeddings of an image that questions are about."""
        return [self.bos, *self._encode(SYSTEM, USER, ": "), self.start]

    def question(self, text: str) -> list[int]:
        """Return the ids behind the image's embeddings, from end-of-image on; the answer's token is next."""
        return [self.end, *self._encode(f"\n{text}".rstrip() + "\n\n", ASSISTANT, ":")]

    def chat(self, request: ChatRequest) -> list[int]:
        """Return the ids of a chat request: each example is a turn of its own, then the input."""
        ids = [self.bos]
        system = SYSTEM
        for text, answer in request.examples:
            turn = f": {_turn(request.instruction, text)}\n\n"
            ids += [*self._encode(system, USER, turn, ASSISTANT, f": {answer}"), self.eos]
            system = ""
        turn = f": {_turn(request.instruction, request.input)}\n\n"
        return [*ids, *self._encode(system, USER, turn, ASSISTANT, ":")]

    def spelled(self, ids: Sequence[int]) -> str:
        """Return ids as text with special tokens, as `silmm probe` shows templates."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def text(self, ids: Sequence[int]) -> str:
        """Return generated ids as text, without special tokens."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True)).strip()

    def _encode(self, *pieces: str) -> list[int]:
        """Encode text between the two role tokens; one that the vocabulary lacks is text, too."""
        ids: list[int] = []
        text = ""
        for piece in pieces:
            role = self._tokenizer.token_to_id(piece) if piece in (USER, ASSISTANT) else None
            if role is None:
                text += piece
            else:
                ids += [*self._plain(text), role]
                text = ""
        return ids + self._plain(text)

    def _plain(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids) if text else []

    def _id(self, token: str) -> int:
        number = self._tokenizer.token_to_id(token)
        if number is None:
            raise DataError(
                f"{self._path} has no token {token!r}, which Janus needs for images; this is the "
                "tokenizer of another model: take that of the release"
            )
        return int(number)

    def _single(self, spellings: Sequence[str]) -> list[int]:
        encoded = [self._plain(text) for text in spellings]
        ids = sorted({pieces[0] for pieces in encoded if len(pieces) == 1})
        if not ids:
            raise DataError(
                f"{self._path} writes none of {', '.join(map(repr, spellings))} as one token, so yes/no answers "
                "cannot be read; take the tokenizer of the release"
            )
        return ids


def _turn(instruction: str, text: str) -> str:
    return "\n\n".join(part for part in (instruction.strip(), text.strip()) if part)


def _names(folder: Path) -> dict[str, str]:
    stored: dict[str, Any] = {}
    for name in ("processor_config.json", "special_tokens_map.json", "tokenizer_config.json"):
        stored |= read_json(folder / name, required=False)
    result = {}
    for role, (keys, usual) in _TAGS.items():
        token = next((stored[key] for key in keys if stored.get(key)), usual)
        result[role] = str(token["content"] if isinstance(token, Mapping) else token)
    return result

