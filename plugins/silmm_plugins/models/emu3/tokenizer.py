"""Text to token ids and back, and the ids of image tokens."""

from __future__ import annotations

import base64
import binascii
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from silmm.checkpoint.folders import read_json
from silmm.errors import DataError

_RANKS, _VISION, _FAST = "emu3.tiktoken", "emu3_vision_tokens.txt", "tokenizer.json"
_EXTRAS = 205
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_ROLES = {
    "pad": "<|endoftext|>",
    "bos": "<|extra_203|>",
    "eos": "<|extra_204|>",
    "img": "<|image token|>",
    "boi": "<|image start|>",
    "eoi": "<|image end|>",
    "eol": "<|extra_200|>",
    "eof": "<|extra_201|>",
}


@dataclass(frozen=True)
class Emu3Tokens:
    """The ids of control and image tokens (docs/spec/base-models.md 3.3)."""

    pad: int
    bos: int
    eos: int
    img: int
    """Ends the size; the codes follow."""
    boi: int
    eoi: int
    eol: int
    """Ends a row of codes."""
    eof: int
    """Ends the last row."""
    visual: int
    """The id of code 0; the others follow without a gap."""
    codes: int
    """Number of codes."""
    texts: int
    """Ids below this one are pieces of text."""


class Emu3Tokenizer:
    """The byte-pair encoding of Emu3; control tokens spelled in a text are text."""

    def __init__(self, pieces: Tokenizer, tokens: Emu3Tokens) -> None:
        """Wrap a tokenizer; its special tokens, if any, are not recognised in texts."""
        pieces.encode_special_tokens = True
        self._pieces = pieces
        self.tokens = tokens

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, in Unicode's composed form as in the original."""
        ids: list[int] = self._pieces.encode(
            unicodedata.normalize("NFC", text), add_special_tokens=False
        ).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids; bytes that are not UTF-8 become replacement characters."""
        text: str = self._pieces.decode(list(ids), skip_special_tokens=False)
        return text

    def single(self, pieces: Sequence[str]) -> list[int]:
        """Return the ids of those texts that are one token each, in order, each id once."""
        encoded = map(self.encode, pieces)
        return list(dict.fromkeys(ids[0] for ids in encoded if len(ids) == 1))


def load_tokenizer(folder: Path, codes: int, rows: int) -> Emu3Tokenizer:
    """Read `tokenizer.json` (-hf) or `emu3.tiktoken` and `emu3_vision_tokens.txt` (original); no tiktoken.

    Args:
        folder: the checkpoint.
        codes: size of the vision tokenizer's codebook.
        rows: of the language model's embedding, its vocab_size.

    Raises:
        DataError: a file is missing or damaged, or the tokenizer lacks image tokens.
    """
    if (folder / _FAST).is_file():
        file = folder / _FAST
        try:
            pieces = Tokenizer.from_file(str(file))
        except Exception as error:  # tokenizers raises bare exceptions
            raise DataError(f"{file} is no tokenizer file ({error}); copy it again") from error
        names = pieces.get_vocab(with_added_tokens=True)
        roles = _ROLES | _own_roles(folder)
    else:
        file = folder / _VISION
        ranks = _read_ranks(folder / _RANKS)
        pieces = _byte_pairs(ranks)
        names = {name: len(ranks) + i for i, name in enumerate(_special_names(file))}
        roles = _ROLES
    tokens = _tokens(names, roles, codes, file)
    if max(tokens.visual + codes - 1, *(names[name] for name in roles.values())) >= rows:
        raise DataError(
            f"{file} has ids beyond the {rows} rows of the model's embedding; is it another model's file?"
        )
    return Emu3Tokenizer(pieces, tokens)


def _tokens(names: dict[str, int], roles: dict[str, str], codes: int, file: Path) -> Emu3Tokens:
    visual = [f"<|visual token {code:06d}|>" for code in range(codes)]
    for name in (*roles.values(), *visual):
        if name not in names:
            raise DataError(
                f"{file} lacks the token {name!r}; the tokenizer of this Emu3 has {codes} visual tokens"
            )
    first = names[visual[0]]
    gap = next((name for code, name in enumerate(visual) if names[name] != first + code), None)
    if gap:
        raise DataError(f"{file}: the id of {gap!r} is {names[gap]}; visual tokens must follow one another")
    ids = {role: names[name] for role, name in roles.items()}
    return Emu3Tokens(**ids, visual=first, codes=codes, texts=ids["pad"])


def _own_roles(folder: Path) -> dict[str, str]:
    """Return the names of control tokens where tokenizer_config.json gives them."""
    path = folder / "tokenizer_config.json"
    stored = read_json(path, required=False)
    keys = {role: f"{role}_token" for role in ("pad", "bos", "eos", "boi", "eoi", "eof")}
    keys["img"] = "image_wrapper_token"
    names = {role: stored.get(key) for role, key in keys.items()}
    return {role: name for role, name in names.items() if isinstance(name, str)}


def _read_ranks(path: Path) -> dict[bytes, int]:
    try:
        lines = [line.split() for line in path.read_bytes().splitlines() if line]
        ranks = {base64.b64decode(piece, validate=True): int(rank) for piece, rank in lines}
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}); emu3 needs it, or a {_FAST}"
        ) from error
    except (ValueError, binascii.Error) as error:
        raise DataError(f"{path} is no tiktoken file ({error}); copy it again") from error
    if sorted(ranks.values()) != list(range(len(ranks))) or sum(len(piece) == 1 for piece in ranks) != 256:
        raise DataError(f"{path} does not hold every rank and every byte once; it is incomplete, copy it again")
    return ranks


def _special_names(path: Path) -> list[str]:
    """Return the special tokens in the order of their ids, which follow the ranks."""
    try:
        vision = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); emu3 needs it beside {_RANKS}") from error
    extras = [f"<|extra_{i}|>" for i in range(_EXTRAS)]
    return ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *extras, *(name for name in vision if name)]


def _byte_pairs(ranks: dict[bytes, int]) -> Tokenizer:
    """Return an equivalent tokenizer of merges: a pair may merge where its union has a rank, lowest first."""
    letters = _letters()
    text = {piece: "".join(letters[byte] for byte in piece) for piece in ranks}
    merges = [
        (text[piece[:cut]], text[piece[cut:]])
        for piece in sorted(ranks, key=ranks.__getitem__)
        for cut in range(1, len(piece))
        if piece[:cut] in ranks and piece[cut:] in ranks
    ]
    vocabulary = {text[piece]: rank for piece, rank in ranks.items()}
    pieces = Tokenizer(BPE(vocabulary, merges, ignore_merges=True))
    pieces.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    pieces.decoder = decoders.ByteLevel()
    return pieces


def _letters() -> list[str]:
    """Return the letter of each byte in byte-level tokenizers: itself if it is printable."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]
