"""The inputs of mPLUG: pixels of an image, and 25 tokens of a question."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from transformers import BertTokenizer

from silmm.errors import DataError
from silmm_benchmarks.judges.mplug.beam import END, START

if TYPE_CHECKING:
    from PIL.Image import Image

LENGTH = 25
"""Tokens of a question with [CLS] and [SEP]; longer ones lose their end, as in the official pipeline."""
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
VOCABULARY_FILE = "vocab.txt"


def pixels(image: Image, side: int) -> Tensor:
    """Return an image as mPLUG reads it, (3, side, side): squeezed to a square, bicubic, with CLIP's mean and std."""
    from PIL import Image as Pillow

    small = image.convert("RGB").resize((side, side), Pillow.Resampling.BICUBIC)
    scaled = torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255
    return (scaled - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


class Questions:
    """The official tokenizer: questions to tokens, and tokens to an answer."""

    def __init__(self, folder: Path, size: int) -> None:
        """Read the vocabulary of an official folder; the model has `size` embeddings.

        Raises:
            DataError: the vocabulary is missing, larger than the model, or has [CLS] or [SEP] elsewhere.
        """
        path = folder / VOCABULARY_FILE
        if not path.is_file():
            raise DataError(f"{path} is missing; take the published one of the same model.")
        try:
            self._tokenizer: Any = BertTokenizer.from_pretrained(str(folder))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is not a BERT vocabulary ({error}); take the published one.") from None
        special = (self._tokenizer.cls_token_id, self._tokenizer.sep_token_id)
        if special != (START, END) or len(self._tokenizer) > size:
            raise DataError(
                f"{path} has {len(self._tokenizer)} words, [CLS] and [SEP] at {special}; the model has "
                f"{size} and needs them at {START} and {END}. Take the vocabulary published with the weights."
            )

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return tokens and mask of lower-cased questions, both (questions, 25)."""
        asked = self._tokenizer(
            [text.lower() for text in texts],
            padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt",
        )
        return asked.input_ids, asked.attention_mask

    def decode(self, tokens: Sequence[int]) -> str:
        """Return an answer's text without special tokens."""
        text: str = self._tokenizer.decode(
            list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=True
        )
        return text
