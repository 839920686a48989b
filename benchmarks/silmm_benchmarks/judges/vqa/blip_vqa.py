"""BLIP-VQA of T2I-CompBench++: how probable "yes" is as the first word of the answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from silmm.errors import DataError
from silmm_benchmarks.judges.loading import Placement
from silmm_benchmarks.judges.options import BlipVqaOptions
from silmm_benchmarks.judges.pixels import CLIP_MEAN, CLIP_STD, squares
from silmm_benchmarks.judges.vqa.blip_checkpoint import SIZE, Parts, load_parts
from silmm_benchmarks.judges.weight_files import digest, fingerprint, locate

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

DECODE, ENCODE = 30522, 30523
"""[DEC] and [ENC]: the two tokens that BLIP puts behind bert-base-uncased's vocabulary."""
YES, NO = 2748, 2053
LONGEST = 35
"""Tokens of a question with its ends; the rest is cut."""
_WORDS = 50
_QUESTIONS = 64
"""Questions about one image that are read at once."""


def clean(question: str) -> str:
    """Return a question as the official script reads it: lower case, no . ! " ( ) * # : ; ~, 50 words."""
    kept = re.sub(r'[.!"()*#:;~]', "", question.lower()).rstrip(" ")
    return " ".join(kept.split(" ")[:_WORDS])


def vocabulary_of(options: BlipVqaOptions, path: Path) -> Path:
    """Return where bert-base-uncased's vocab.txt belongs: in the named folder, or beside the weights."""
    beside = Path(options.tokenizer).expanduser() if options.tokenizer else path
    return (beside if beside.is_dir() else beside.parent) / "vocab.txt"


class BlipVqa:
    """P(yes) / (P(yes) + P(no)) of each question, each image encoded once (docs/spec/benchmarks.md 1.4)."""

    def __init__(
        self, parts: Parts, vocabulary: Path, placement: Placement, weights: Mapping[str, str]
    ) -> None:
        """Take the loaded parts, bert-base-uncased's vocab.txt, and what identifies the weights.

        Raises:
            DataError: the vocabulary is another one.
        """
        from tokenizers.implementations.bert_wordpiece import BertWordPieceTokenizer

        words = vocabulary.read_text(encoding="utf-8").splitlines() if vocabulary.is_file() else []
        if len(words) not in (DECODE, DECODE + 2) or (words[YES], words[NO]) != ("yes", "no"):
            raise DataError(
                f"{vocabulary} is not the vocabulary of bert-base-uncased ({DECODE} lines); put that file "
                "there, or name its folder with the option tokenizer. Home: https://huggingface.co/bert-base-uncased."
            )
        self._parts, self._placement = parts, placement
        self._tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)
        self._tokenizer.enable_truncation(LONGEST)
        self._weights = {**weights, "tokenizer_sha256": digest([vocabulary])}

    @classmethod
    def load(cls, options: BlipVqaOptions) -> BlipVqa:
        """Find the weights that the options name and load them.

        Raises:
            DataError: they are missing, broken or of another model.
        """
        path = locate("blip-vqa", options.weights)
        placement = Placement.of(options)
        return cls(load_parts(path, placement), vocabulary_of(options, path), placement, fingerprint(path))

    @property
    def identity(self) -> Mapping[str, str]:
        """Judge, layout, hashes of weights and vocabulary, precision, input."""
        return {
            "judge": "blip-vqa", **self._weights, **self._placement.identity, "layout": self._parts.source,
            "input": f"{SIZE}x{SIZE} bicubic", "question": f"[ENC], {LONGEST} tokens",
        }

    def p_yes(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[NDArray[np.float64]]:
        """Return P(yes) / (P(yes) + P(no)), shape (questions of the image,), for each image."""
        return [self._probability(logits) for logits in self.yes_no_logits(images, questions)]

    def yes_no_logits(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[NDArray[np.float64]]:
        """Return the decoder's logits of "yes" and "no", (questions of the image, 2), for each image."""
        return self._logits(images, questions, [YES, NO])

    def first_word_logits(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[NDArray[np.float64]]:
        """Return the decoder's logits of all words, (questions of the image, words), for each image."""
        return self._logits(images, questions, list(range(self._parts.decoder.config.vocab_size)))

    def _logits(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]], words: list[int]
    ) -> list[NDArray[np.float64]]:
        import torch

        logits_of_images = [np.empty((len(texts), len(words))) for texts in questions]
        with_questions = [index for index, texts in enumerate(questions) if texts]
        with torch.inference_mode():
            for part in self._placement.chunks(len(with_questions)):
                image_states = self._encode_images([images[index] for index in with_questions[part]])
                states: dict[tuple[int, int], torch.Tensor] = {}
                for row, index in enumerate(with_questions[part]):
                    states_of_questions = self._encode_questions(image_states[row : row + 1], questions[index])
                    states |= {(index, question): state for question, state in enumerate(states_of_questions)}
                for (index, question), logits in self._decide(states, words).items():
                    logits_of_images[index][question] = logits
        return logits_of_images

    def token_ids(self, questions: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each question; [ENC] stands where BERT has [CLS]."""
        return [[ENCODE, *self._tokenizer.encode(clean(text)).ids[1:]] for text in questions]

    def _encode_images(self, images: Sequence[Image]) -> torch.Tensor:
        """Return the image states, (images, 901, width)."""
        from PIL.Image import Resampling

        pixels = squares(images, SIZE, Resampling.BICUBIC, CLIP_MEAN, CLIP_STD)
        pixels = pixels.to(self._placement.device, self._placement.dtype)
        states: torch.Tensor = self._parts.vision(
            pixel_values=pixels, interpolate_pos_encoding=self._parts.interpolate
        ).last_hidden_state
        return states

    def _encode_questions(self, image_state: torch.Tensor, texts: Sequence[str]) -> list[torch.Tensor]:
        """Return the states of each question, (its tokens, width), without padding.

        The one image's states, (1, 901, width), broadcast over the questions: its keys and values are
        computed once for all of them.
        """
        import torch

        states_of_questions: list[torch.Tensor] = []
        for start in range(0, len(texts), _QUESTIONS):
            rows = self.token_ids(texts[start : start + _QUESTIONS])
            longest = max(map(len, rows))
            ids = [row + [0] * (longest - len(row)) for row in rows]
            mask = [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
            states = self._parts.encoder(
                input_ids=torch.tensor(ids, device=self._placement.device),
                attention_mask=torch.tensor(mask, device=self._placement.device),
                encoder_hidden_states=image_state, use_cache=False,
            ).last_hidden_state
            states_of_questions += [state[: len(row)] for state, row in zip(states, rows, strict=True)]
        return states_of_questions

    def _decide(
        self, states: Mapping[tuple[int, int], torch.Tensor], words: list[int]
    ) -> dict[tuple[int, int], NDArray[np.float64]]:
        """Return the logits of words that follow [DEC], (words,), for each question's states.

        Questions of one length go together: transformers' BLIP drops the mask of its cross attention
        (5.23: `BlipTextAttention` does not hand it on), so that padding would be read.
        """
        import torch

        groups: dict[int, list[tuple[int, int]]] = {}
        for key, state in states.items():
            groups.setdefault(len(state), []).append(key)
        logits_of: dict[tuple[int, int], NDArray[np.float64]] = {}
        for keys in groups.values():
            logits = self._parts.decoder(
                input_ids=torch.full((len(keys), 1), DECODE, device=self._placement.device),
                encoder_hidden_states=torch.stack([states[key] for key in keys]), use_cache=False,
            ).logits[:, 0, words]
            logits_of |= dict(zip(keys, logits.double().cpu().numpy(), strict=True))
        return logits_of

    @staticmethod
    def _probability(logits: NDArray[np.float64]) -> NDArray[np.float64]:
        # exp(yes) / (exp(yes) + exp(no)): the softmax over the other words cancels, and nothing underflows.
        with np.errstate(over="ignore"):
            p: NDArray[np.float64] = 1 / (1 + np.exp(logits[:, 1] - logits[:, 0]))
        return p
