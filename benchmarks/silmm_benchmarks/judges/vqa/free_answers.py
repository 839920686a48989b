"""What TIFA's question-answering models of transformers share: load, see an image once, answer in words."""

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
    """A question-answering model; its subclasses say how an image is seen and how questions are put."""

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

        place, placement = locate(name, options.weights), Placement.of(options)
        model = load_pretrained(getattr(transformers, cls.model_class), place, placement)
        with broken_weights(place):
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                place, local_files_only=True, trust_remote_code=False
            )
            # Pillow: the official runs resized with it, and torchvision's pixels differ by a level.
            processor = transformers.AutoImageProcessor.from_pretrained(
                place, local_files_only=True, trust_remote_code=False, backend="pil"
            )
        return cls(name, model, tokenizer, processor, placement, fingerprint(place))

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
        asked = [index for index, group in enumerate(questions) if group]
        with torch.inference_mode():
            for part in self.placement.chunks(len(asked)):
                seen = self.see([images[index] for index in asked[part]])
                for index, one in zip(asked[part], seen, strict=True):
                    answers[index] = self.ask(one, list(questions[index]))
        return answers

    @abstractmethod
    def see(self, images: Sequence[Image]) -> Sequence[Any]:
        """Return what the model keeps of each image for all its questions."""

    @abstractmethod
    def ask(self, seen: Any, questions: Sequence[Question]) -> list[str]:
        """Answer one image's questions."""

    def pixels(self, images: Sequence[Image]) -> torch.Tensor:
        """Return images of one input size as the model's own processor prepares them."""
        pixels: torch.Tensor = self.processor(images=list(images), return_tensors="pt")["pixel_values"]
        return pixels.to(self.placement.device, self.placement.dtype)

    def by_length(self, rows: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], torch.Tensor]]:
        """Yield the places and the ids, (some, length), of rows of one length: nothing is padded."""
        import torch

        groups: dict[int, list[int]] = {}
        for place, row in enumerate(rows):
            groups.setdefault(len(row), []).append(place)
        for places in groups.values():
            yield places, torch.tensor([rows[place] for place in places], device=self.placement.device)

    def words(self, ids: torch.Tensor) -> list[str]:
        """Return generated ids as text without special tokens and outer spaces."""
        return [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]
