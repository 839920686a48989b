"""DreamLLM's words: the checkpoint's sentencepiece model as transformers 4.35 used it, and special tokens.

Each stretch of text between special tokens is encoded by itself, with the space that sentencepiece puts in
front (`legacy`). Newer tokenizers of transformers give other ids. Text never becomes a special token,
whatever it holds. The ids of the special tokens are read, never derived (docs/spec/base-models.md 0.1, 0.2, 1.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from silmm.checkpoint.folders import read_json
from silmm.errors import DataError, UsageError

IMAGE_TOKENS = ("<im_patch>", "<im_start>", "<im_end>", "<dream_start>", "<dream_end>")
"""The special tokens that sampling and looking need."""
YES, NO = ("▁Yes", "▁yes", "Yes", "yes"), ("▁No", "▁no", "No", "no")
"""How an answer can begin; those count that are single pieces of the vocabulary."""
_NO_SPACE_IN_FRONT = b"\x1a\x02\x18\x00"
"""A model file that only says `normalizer_spec { add_dummy_prefix: false }`; behind another, merged in."""


class DreamTokenizer:
    """Text to ids and back, and the ids of special tokens by name."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Read tokenizer.model and the special tokens of config.json.

        Raises:
            DataError: a file is missing or damaged, a token is missing, or two files contradict each other.
            UsageError: sentencepiece is not installed.
        """
        self.special = _special(folder, config)
        self.bos, self.eos = self.special["<s>"], self.special["</s>"]
        settings = read_json(folder / "tokenizer_config.json", "the settings of the tokenizer", required=False)
        self.legacy = bool(settings.get("legacy", True))
        self._pieces = _sentencepiece(folder / "tokenizer.model", self.legacy)
        self.size: int = max(self._pieces.get_piece_size(), max(self.special.values()) + 1)
        self.yes = self._single(folder, YES)
        self.no = self._single(folder, NO)

    def encode(self, text: str, *, after_special: bool = True) -> list[int]:
        """Return the ids of a stretch of text, without <s>.

        Args:
            text: any text; names of special tokens in it are letters like others.
            after_special: whether a special token stands before it; no difference unless the checkpoint's
                tokenizer_config.json says ``"legacy": false``.
        """
        start = "" if self.legacy or after_special else "▁"
        ids: list[int] = self._pieces.encode(start + text) if text else []
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids; special tokens give nothing."""
        known = set(self.special.values())
        text: str = self._pieces.decode([one for one in ids if one not in known])
        return text

    def piece(self, token: int) -> str:
        """Return how a token is written in the vocabulary."""
        names = {number: name for name, number in self.special.items()}
        return names.get(token) or str(self._pieces.id_to_piece(token))

    def _single(self, folder: Path, forms: Sequence[str]) -> list[int]:
        ids = [self._pieces.piece_to_id(form) for form in forms]
        found = sorted({one for one in ids if one != self._pieces.unk_id()})
        if not found:
            raise DataError(
                f"{folder / 'tokenizer.model'} holds none of {', '.join(forms)} as a single piece; answers "
                "to yes/no questions cannot be read. Expected the tokenizer of LLaMA"
            )
        return found


def _special(folder: Path, config: Mapping[str, Any]) -> dict[str, int]:
    table = config["special_tokens2ids_dict"]
    further = table.get("additional_special_tokens", {})
    found = {str(name): one for name, one in {**table, **further}.items() if isinstance(one, int)}
    missing = [name for name in ("<s>", "</s>", *IMAGE_TOKENS) if name not in found]
    if missing:
        raise DataError(
            f"{folder / 'config.json'}: special_tokens2ids_dict does not name {', '.join(missing)}; expected "
            f"<s>, </s>, {', '.join(IMAGE_TOKENS)}. Take a checkpoint that was trained to sample"
        )
    path = folder / "added_tokens.json"
    added = read_json(path, "the added tokens of the tokenizer", required=False)
    for name, token in added.items():
        if name in found and token != found[name]:
            raise DataError(
                f"{path}: {name} is {token}, but {found[name]} in special_tokens2ids_dict of config.json; "
                "the files are of different checkpoints"
            )
    return found


def _sentencepiece(path: Path, legacy: bool) -> Any:
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError as error:
        raise UsageError(
            "dreamllm reads its tokenizer with sentencepiece, which is not installed: "
            "pip install sentencepiece"
        ) from error
    if not path.is_file():
        raise DataError(f"{path} is missing; expected the sentencepiece model of LLaMA")
    try:
        return SentencePieceProcessor(model_proto=path.read_bytes() + (b"" if legacy else _NO_SPACE_IN_FRONT))
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path} is no sentencepiece model ({error}); copy it again") from error
