"""The base of TIFA's question-answering models of transformers: load, encode an image once, answer in words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import Self

from silmm.contracts.judges import Question
from silmm_benchmarks.judges.loading import Placement, broken_weights, load_pretrained
from silmm_benchmarks.judges.options import JudgeOptions
from silmm_benchmarks.judges.weight_files import fingerprint, locate

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

LONGEST_ANSWER = 50
"""Tokens: `max_length` of TIFA's models."""


class FreeAnswers(ABC):
    """A question-answering model; its subclasses define how images are encoded and how questions are asked."""

    decoding: ClassVar[str]
    """For the identity: how the words are chosen."""
    model_class: ClassVar[str]
    """The class of transformers."""
    longest_answer: int = LONGEST_ANSWER
    """Tokens of an answer; with the question where the model counts so."""

    def __init__(
        self, name: str, model: Any, tokenizer: Any, processor: Any, placement: Placement,
        weights: Mapping[str, str],
    ) -> None:
        """Take the loaded model of transformers, its tokenizer and its image processor."""
        self.name = name
        self.model, self.tokenizer, self.processor = model, tokenizer, processor
        self.placement, self.weights = placement, weights

    @classmethod
    def load(cls, name: str, options: JudgeOptions) -> Self:
        """Find the weights of the judge `name` that the options name and load them.

        Raises:
            DataError: they are missing, broken or of another model.
        """
        import transformers

        path, placement = locate(name, options.weights), Placement.of(options)
        model = load_pretrained(getattr(transformers, cls.model_class), path, placement)
        with broken_weights(path):
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                path, local_files_only=True, trust_remote_code=False
            )
            # Pillow: the official runs resized with it, and torchvision's pixels differ by a level.
            processor = transformers.AutoImageProcessor.from_pretrained(
                path, local_files_only=True, trust_remote_code=False, backend="pil"
            )
        return cls(name, model, tokenizer, processor, placement, fingerprint(path))

    @property
    def identity(self) -> Mapping[str, str]:
        """Judge, class, hashes of weights and of the processor's settings, precision, decoding."""
        return {
            "judge": self.name, "architecture": self.model_class, **self.weights, **self.placement.identity,
            "decoding": self.decoding,
        }

    def answer(self, images: Sequence[Image], questions: Sequence[Sequence[Question]]) -> list[list[str]]:
        """Return the answers to each image's questions, as the model writes them."""
        import torch

        answers: list[list[str]] = [[] for _ in images]
        with_questions = [index for index, group in enumerate(questions) if group]
        with torch.inference_mode():
            for part in self.placement.chunks(len(with_questions)):
                image_states = self.encode_images([images[index] for index in with_questions[part]])
                for index, image_state in zip(with_questions[part], image_states, strict=True):
                    answers[index] = self.answer_questions(image_state, list(questions[index]))
        return answers

    @abstractmethod
    def encode_images(self, images: Sequence[Image]) -> Sequence[Any]:
        """Return the state of each image that all its questions read."""

    @abstractmethod
    def answer_questions(self, image_state: Any, questions: Sequence[Question]) -> list[str]:
        """Answer one image's questions."""

    def pixels(self, images: Sequence[Image]) -> torch.Tensor:
        """Return images of one input size as the model's own processor prepares them."""
        pixels: torch.Tensor = self.processor(images=list(images), return_tensors="pt")["pixel_values"]
        return pixels.to(self.placement.device, self.placement.dtype)

    def by_length(self, rows: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], torch.Tensor]]:
        """Yield the indices and the ids, (some, length), of rows of one length: nothing is padded."""
        import torch

        groups: dict[int, list[int]] = {}
        for index, row in enumerate(rows):
            groups.setdefault(len(row), []).append(index)
        for indices in groups.values():
            yield indices, torch.tensor([rows[index] for index in indices], device=self.placement.device)

    def words(self, ids: torch.Tensor) -> list[str]:
        """Return generated ids as text without special tokens and outer spaces."""
        return [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]
