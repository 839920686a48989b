"""mPLUG as a judge: each image encoded once, its questions asked together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from silmm.checkpoint.devices import check_device
from silmm.contracts.judges import Question
from silmm.storage.sha256_cache import file_digests
from silmm.storage.user_folders import data_root
from silmm_benchmarks.judges.mplug.checkpoint import WEIGHTS_FILE, check_files, load_model
from silmm_benchmarks.judges.mplug.config import read_config
from silmm_benchmarks.judges.mplug.inputs import LENGTH, VOCABULARY_FILE, Questions, pixels
from silmm_benchmarks.judges.options import MPlugOptions

if TYPE_CHECKING:
    from PIL.Image import Image


class MPlugJudge:
    """The VQA model of TIFA and DPG-Bench (docs/spec/benchmarks.md 2.3, 3.3, 4.2); a `VqaJudge`."""

    def __init__(
        self, folder: Path, device: str = "cpu", dtype: str = "float32", batch_size: int = 16
    ) -> None:
        """Load an official folder.

        Raises:
            DataError: a file is missing, malformed or does not fit the others.
            UsageError: torch cannot use the device.
        """
        check_files(folder)
        self._folder, self._batch_size = folder, batch_size
        self._device, self._dtype = check_device("the judge mplug", device, "its option device"), getattr(torch, dtype)
        self.config, self._config_files = read_config(folder)
        self.questions = Questions(folder, self.config.bert.vocab_size)
        self.model = load_model(folder, self.config, self._dtype, self._device)

    @cached_property
    def identity(self) -> Mapping[str, str]:
        """Name all that the answers depend on; the files by their sha256."""
        files = [self._folder / WEIGHTS_FILE, *self._config_files, self._folder / VOCABULARY_FILE]
        names = ("weights", "config", "bert_config", "vocabulary")
        return {
            "judge": "mplug",
            **dict(zip(names, file_digests(files), strict=True)),
            "dtype": str(self._dtype).removeprefix("torch."),
            "input": f"{self.config.image_res}x{self.config.image_res} bicubic, {LENGTH} tokens",
            "beams": str(self.config.beam_size),
        }

    def answer(self, images: Sequence[Image], questions: Sequence[Sequence[Question]]) -> list[list[str]]:
        """Return the best beam's text for each question; `choices` are not shown to this model.

        Raises:
            DataError: logits are not finite.
        """
        pairs = zip(images, questions, strict=True)
        return [self._ask(image, [question.text for question in asked]) for image, asked in pairs]

    def _ask(self, image: Image, texts: Sequence[str]) -> list[str]:
        if not texts:
            return []
        # Only questions of one image share a batch, so that no answer depends on other images.
        distinct = list(dict.fromkeys(texts))
        encoded = self.encode(image)
        answers: dict[str, str] = {}
        for start in range(0, len(distinct), self._batch_size):
            part = distinct[start : start + self._batch_size]
            tokens, mask = (tensor.to(self._device) for tensor in self.questions.encode(part))
            ranked_answers = self.model.answer(encoded, tokens, mask)
            answers.update(
                (text, self.questions.decode(ranked[0].tokens))
                for text, ranked in zip(part, ranked_answers, strict=True)
            )
        return [answers[text] for text in texts]

    def ranked(self, image: Image, texts: Sequence[str]) -> list[list[tuple[str, float]]]:
        """Return each question's recorded answers about an image with their scores, best first.

        A score is the sum of log-probabilities over the length penalty.

        Raises:
            DataError: logits are not finite.
        """
        tokens, mask = (tensor.to(self._device) for tensor in self.questions.encode(texts))
        ranked_answers = self.model.answer(self.encode(image), tokens, mask)
        return [
            [(self.questions.decode(hypothesis.tokens), hypothesis.score) for hypothesis in answers]
            for answers in ranked_answers
        ]

    def encode(self, image: Image) -> Tensor:
        """Return the states of one image that its questions read, (1, n, hidden)."""
        image_pixels = pixels(image, self.config.image_res).to(device=self._device, dtype=self._dtype)
        return self.model.encode_images(image_pixels[None])


def build(options: MPlugOptions) -> MPlugJudge:
    """Return the judge of the named folder, or of `mplug` in the data folder.

    Raises:
        DataError, UsageError: as :class:`MPlugJudge`.
    """
    return MPlugJudge(_folder_of(options), options.device, options.dtype, options.batch_size)


def require_files(options: MPlugOptions) -> None:
    """Refuse a folder that lacks files.

    Raises:
        DataError: as :func:`silmm_benchmarks.judges.mplug.checkpoint.check_files`.
    """
    check_files(_folder_of(options))


def _folder_of(options: MPlugOptions) -> Path:
    """Return the named folder, or `mplug` in the data folder."""
    return Path(options.weights).expanduser() if options.weights else data_root() / "mplug"
