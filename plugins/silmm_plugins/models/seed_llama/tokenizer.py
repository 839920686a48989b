"""Text to token ids and back as SEED-LLaMA was trained with it: raw sentencepiece, split at added tokens.

Newer tokenizers leave out the space marker behind a special token and keep spaces in front of one
(docs/spec/base-models.md 0.2), so the rules are spelled out here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import count, takewhile
from pathlib import Path

import sentencepiece

from silmm.checkpoint.folders import read_json
from silmm.errors import DataError
from silmm_plugins.models.seed_llama.locate import PIECES

BOI, EOI = "<img>", "</img>"
CODE = "<img_{:05d}>"
_MARK = "▁"
_YES = ("Yes", "yes", "YES")
_NO = ("No", "no", "NO")


class SeedTokenizer:
    """Sentencepiece with the added image tokens of one checkpoint."""

    def __init__(
        self, pieces: sentencepiece.SentencePieceProcessor, added: Mapping[str, int], home: str
    ) -> None:
        """Take the sentencepiece model and the added tokens; `home` names them in errors.

        Raises:
            DataError: an image token is missing, or the codes' ids do not follow one another.
        """
        self._pieces = pieces
        control = {pieces.id_to_piece(i): i for i in range(pieces.get_piece_size()) if pieces.is_control(i)}
        control[pieces.id_to_piece(pieces.unk_id())] = pieces.unk_id()
        self._added = dict(added)
        self._ids = control | self._added
        longest_first = sorted(self._ids, key=len, reverse=True)
        self._special = re.compile("(" + "|".join(re.escape(token) for token in longest_first) + ")")
        self.bos, self.eos = int(pieces.bos_id()), int(pieces.eos_id())
        names = takewhile(self._ids.__contains__, map(CODE.format, count()))
        codes = [self._ids[name] for name in names]
        missing = [name for name in (CODE.format(0), BOI, EOI) if name not in self._ids]
        if missing:
            raise DataError(
                f"the tokenizer in {home} has no token {missing[0]}; a SEED-LLaMA tokenizer holds {BOI}, "
                f"{EOI} and one token for each image code. Give the right folder: --set model.tokenizer=DIR"
            )
        if codes != list(range(codes[0], codes[0] + len(codes))):
            raise DataError(f"the image tokens in {home} do not have ids that follow one another")
        self.boi, self.eoi = self._ids[BOI], self._ids[EOI]
        self.first_code, self.codes = codes[0], len(codes)
        self.yes, self.no = self._answers(_YES), self._answers(_NO)
        if not (self.yes and self.no):
            raise DataError(f"the tokenizer in {home} has no single piece for yes or for no")

    @classmethod
    def load(cls, folder: Path) -> SeedTokenizer:
        """Read tokenizer.model and the added tokens of a tokenizer folder.

        Raises:
            DataError: a file is missing or damaged, or image tokens are missing.
        """
        path = folder / PIECES
        pieces = sentencepiece.SentencePieceProcessor()
        try:
            pieces.LoadFromSerializedProto(path.read_bytes())
        except (OSError, RuntimeError) as error:
            raise DataError(f"{path} is no sentencepiece model ({error}); copy it again") from error
        return cls(pieces, _added_tokens(folder), str(folder))

    def __len__(self) -> int:
        """Count the ids, added tokens included."""
        return max(int(self._pieces.get_piece_size()), 1 + max(self._ids.values()))

    def special_in(self, text: str) -> str | None:
        """Return a special token that stands in `text`, which users' text may not hold."""
        found = self._special.search(text)
        return found.group() if found else None

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text with special tokens written out, nothing added to it.

        Each piece of text between special tokens is encoded by itself. Added tokens take the white space
        on both their sides away, ``<s>`` and ``</s>`` do not.
        """
        parts = self._special.split(text)  # text, token, text, token, … text
        ids: list[int] = []
        for place, part in enumerate(parts):
            if place % 2:
                ids.append(self._ids[part])
                continue
            chunk = part.lstrip() if place > 0 and parts[place - 1] in self._added else part
            if place + 1 < len(parts) and parts[place + 1] in self._added:
                chunk = chunk.rstrip()
            if chunk:
                ids += self._pieces.encode(chunk)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special and added tokens left out."""
        pieces = self._pieces
        text = [i for i in ids if i < pieces.get_piece_size() and not pieces.is_control(i)]
        return str(pieces.decode(text))

    def shown(self, ids: Iterable[int]) -> list[str]:
        """Return the pieces of ids, for people to read."""
        return [str(self._pieces.id_to_piece(i)) for i in ids]

    def _answers(self, words: Sequence[str]) -> tuple[int, ...]:
        """Return the ids of the words that are one piece, with and without the space marker."""
        ids = (self._pieces.piece_to_id(mark + word) for word in words for mark in (_MARK, ""))
        return tuple(sorted({int(i) for i in ids} - {self._pieces.unk_id()}))


def _added_tokens(folder: Path) -> dict[str, int]:
    """Return token -> id, from added_tokens.json or the newer table in tokenizer_config.json."""
    added: dict[str, int] = {}
    for name in ("added_tokens.json", "tokenizer_config.json"):
        path = folder / name
        if not path.is_file():
            continue
        data = read_json(path)
        try:
            if name == "added_tokens.json":
                added |= {str(token): int(str(i)) for token, i in data.items()}
            else:
                table = data.get("added_tokens_decoder", {})
                assert isinstance(table, dict)  # noqa: S101 - caught below
                found = {str(token["content"]): int(i) for i, token in table.items()}
                added |= {t: i for t, i in found.items() if t in (BOI, EOI) or t.startswith("<img_")}
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} does not list tokens and ids ({error!r}); copy it again") from error
    return added
