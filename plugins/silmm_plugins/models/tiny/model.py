"""The common part of both embedded base models: chat, reading prompts, and answers about images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from silmm.checkpoint.devices import check_device
from silmm.checkpoint.folders import read_json
from silmm.checkpoint.networks import fill, refuse_unknown
from silmm.checkpoint.weight_files import read_weights
from silmm.contracts.models import BaseModel, Capability, ChatRequest, Image, Task
from silmm.errors import DataError
from silmm_plugins.models._shared.generation import write
from silmm_plugins.models._shared.sequences import slices
from silmm_plugins.models.tiny.language_model import SPLIT, TinyLM
from silmm_plugins.models.tiny.options import TinyOptions
from silmm_plugins.models.tiny.vocabulary import Vocabulary

if TYPE_CHECKING:
    from typing_extensions import Self

LONGEST_ANSWER = 40
PATCH = 4
"""Side of a patch in pixels; the models read one vector per patch."""
_VQA_BATCH_SIZE, _CHAT_BATCH_SIZE = 128, 256


class TinyModel(BaseModel):
    """A tiny language model behind the contract of base models; the two kinds add their sampling."""

    name: ClassVar[str]
    weights: ClassVar[Path]
    """The folder of the shipped weights."""
    declared: ClassVar[Collection[Capability]]
    """The capabilities."""
    taught: ClassVar[tuple[Task, ...]]
    """The chat tasks that the model was trained on."""

    def __init__(self, language_model: TinyLM, image_part: torch.nn.Module) -> None:
        """Wrap the language model and the part that makes images, both frozen and in eval mode."""
        self.capabilities = frozenset(self.declared)
        image_part.eval().requires_grad_(False)
        self.lora_targets = r"model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
        self._lm = language_model.eval().requires_grad_(False)
        self.backbone = language_model.backbone
        self.vocabulary = language_model.vocabulary

    @classmethod
    def from_options(cls, options: TinyOptions) -> Self:
        """Load the shipped weights onto the device that the options name."""
        return cls.load(device=options.device)

    @classmethod
    def load(cls, folder: Path | None = None, device: str = "cpu") -> Self:
        """Load the weights that ``training/`` exports; without a folder those that are shipped.

        Raises:
            DataError: a file is missing, unreadable or does not fit.
            UsageError: torch cannot use the device.
        """
        check_device(cls.name, device)
        folder = folder or cls.weights
        remedy = f"reinstall silmm, or train them again with `python -m training.{cls.name.replace('-', '_')}`"
        try:
            config = read_json(folder / "config.json")
            networks = cls.networks(Vocabulary(config["words"]), config)
            for name, network in networks.items():
                path, kind = folder / f"{name}.safetensors", type(network).__name__
                tied = ["backbone.lm_head.weight"]  # to the embeddings
                unknown = fill(network, read_weights([path]), path, dtype=torch.float32, optional=tied, remedy=remedy)
                refuse_unknown(path, kind, unknown, remedy)
        except (DataError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{cls.name}: cannot load the weights in {folder}: {error}; {remedy}") from error
        language_model, image_part = networks.values()
        language_model.backbone.tie_weights()  # type: ignore[union-attr, operator]
        return cls(language_model.to(device), image_part.to(device))  # type: ignore[arg-type]

    @classmethod
    @abstractmethod
    def networks(cls, vocabulary: Vocabulary, config: Mapping[str, Any]) -> dict[str, torch.nn.Module]:
        """Build the language model and the part that makes images, by the names of their weight files."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._lm.device

    @abstractmethod
    def image_prefix(self, pixels: torch.Tensor) -> Any:
        """Return the key-value cache of images (N, 3, H, W) in [0, 1]."""

    # -- text ----------------------------------------------------------------------------------------

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        """Answer by the task's own control token; instructions and examples are not needed.

        The answer is empty for a task that the model was not trained on, for unknown words, and for too many words.
        """
        words = self.vocabulary
        answerable = [i for i, r in enumerate(requests) if r.task in self.taught and self.reads(r.input)]
        replies = [""] * len(requests)
        for part in slices(len(answerable), _CHAT_BATCH_SIZE):
            batch = [requests[i] for i in answerable[part]]
            texts = write(
                self._lm,
                [[words.bos, words.task(r.task), *words.encode(r.input), words.sep] for r in batch],
                [r.seed for r in batch],
                [r.temperature for r in batch],
                [min(LONGEST_ANSWER, r.max_words) for r in batch],
                stop=words.eos,
            )
            for i, ids in zip(answerable[part], texts, strict=True):
                replies[i] = words.decode(ids)
        return replies

    def reads(self, prompt: str) -> bool:
        """Say whether the model knows every word and has room for all of them."""
        return self.vocabulary.knows(prompt) and len(self._ids(prompt)) <= SPLIT

    def prompt_ids(self, prompt: str) -> list[int]:
        """Return the ids before a sampled image.

        Raises:
            DataError: the model does not know a word, or there are too many words.
        """
        ids = self._ids(prompt)
        if len(ids) > SPLIT:
            raise DataError(
                f"the prompt {prompt!r} has {len(ids) - 2} words and punctuation marks; {self.name} reads at most "
                f"{SPLIT - 2}. Make it shorter or leave it out."
            )
        return ids

    def _ids(self, prompt: str) -> list[int]:
        return [self.vocabulary.bos, self.vocabulary.sample, *self.vocabulary.encode(prompt)]

    # -- understanding -------------------------------------------------------------------------------

    @torch.inference_mode()
    def yes_no(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[npt.NDArray[np.float64]]:
        """Read p(yes) and p(no) at the first answer position; each image is encoded once.

        Raises:
            DataError: the model does not know a word of a question, or an image has another size than its own.
        """
        results: list[npt.NDArray[np.float64]] = []
        for part in slices(len(images), _VQA_BATCH_SIZE):
            results += self._answers(images[part], questions[part])
        return results

    def _answers(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[npt.NDArray[np.float64]]:
        counts = [len(q) for q in questions]
        words = self.vocabulary
        ids = [[words.ask, *words.encode(text)] for group in questions for text in group]
        if not ids:
            return [np.zeros((0, 2)) for _ in images]
        side = round(self._lm.image_length**0.5) * PATCH
        wrong = {image.shape for image in images} - {(side, side, 3)}
        if wrong:
            raise DataError(
                f"{self.name} reads images of the shape {(side, side, 3)}, not {min(wrong)}; scale them first"
            )
        pixels = torch.from_numpy(np.stack(images)).to(self.device).movedim(-1, 1).float() / 255
        cache = self.image_prefix(pixels)
        owner = torch.arange(len(images), device=self.device).repeat_interleave(
            torch.tensor(counts, device=self.device)
        )
        out, last = self._lm.question_outputs(cache, owner, ids)
        states = out.last_hidden_state[torch.arange(len(ids), device=self.device), last]
        p = self._lm.logits(states).double().softmax(-1)
        answers = p[:, [words.yes, words.no]].cpu().numpy()
        return np.split(answers, np.cumsum(counts)[:-1])
