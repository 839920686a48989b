"""Words and control tokens of the tiny models; text to ids and back."""

from __future__ import annotations

import re
from collections.abc import Sequence

from silmm.errors import DataError

CONTROL = (
    "<pad>", "<bos>", "<eos>", "<boi>", "<eoi>", "<sample>", "<ask>", "<sep>",
    "<list>", "<write>", "<decompose>", "<question>", "<rephrase>", "<explain>",
)  # fmt: skip
_TOKEN = re.compile(r"[a-z0-9_]+|[^\sa-z0-9_]")


class Vocabulary:
    """Control tokens, then words; a language model may add image codes behind them."""

    def __init__(self, words: Sequence[str], image_length: int = 64) -> None:
        """Number the control tokens, then `words` in their order; words must be distinct."""
        self.words = tuple(words)
        self.image_length = image_length
        self._text = CONTROL + self.words
        self._id = {text: i for i, text in enumerate(self._text)}
        if len(self._id) != len(self._text):
            raise ValueError("the vocabulary holds a word twice")
        self.pad, self.bos, self.eos, self.boi, self.eoi, self.sample, self.ask, self.sep = range(8)
        self.yes, self.no = self._id["yes"], self._id["no"]

    def __len__(self) -> int:
        """Count control tokens and words."""
        return len(self._text)

    def task(self, name: str) -> int:
        """Return the control token of a chat task."""
        return self._id[f"<{name}>"]

    def encode(self, text: str) -> list[int]:
        """Return the ids of the words of `text`, lower-cased.

        Raises:
            DataError: a word is not in the vocabulary; the message names it and lists the known words.
        """
        pieces = _TOKEN.findall(text.lower())
        unknown = [p for p in pieces if p not in self._id]
        if unknown:
            raise DataError(
                f"the tiny models do not know the word {unknown[0]!r} in {text!r}. They know: "
                f"{' '.join(self.words)}"
            )
        return [self._id[p] for p in pieces]

    def knows(self, text: str) -> bool:
        """Say whether every word of `text` is in the vocabulary."""
        return all(p in self._id for p in _TOKEN.findall(text.lower()))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of word ids, without a space before punctuation."""
        text = " ".join(self._text[i] for i in ids if i >= len(CONTROL))
        return re.sub(r" ([,.?])", r"\1", text)
