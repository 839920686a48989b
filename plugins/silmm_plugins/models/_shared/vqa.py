"""Yes/no questions about images: an image is read once, and all its questions follow in one row.

The questions of an image stand one after another behind its keys and values. Each attends to the image and to
itself alone, and its positions go on from the image's end, as if it were the only question.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from silmm_plugins.models._shared.sequences import SequenceModel, slices

_QUESTIONS = 32
"""Questions of an image that go through the model at once."""


class ImagePrefix:
    """What stands before the questions about each of a few images, the image included, as keys and values."""

    def __init__(self, model: SequenceModel, vectors: Tensor, positions: Tensor | None = None) -> None:
        """Read the images.

        Args:
            model: the language model.
            vectors: input embeddings up to the end of the image, (images, length, D).
            positions: (images, length), or as the model's `run` takes them; 0, 1, 2, … without it.
        """
        count, self._length = vectors.shape[:2]
        if positions is None:
            positions = torch.arange(self._length, device=vectors.device).expand(count, -1)
        self._model, self._cache = model, model.new_cache()
        self._next = int(positions.max()) + 1
        model.run(vectors, None, positions, self._cache)

    def logits(self, questions: Sequence[Sequence[Sequence[int]]]) -> list[Tensor]:
        """Return float32 logits (n_questions, vocabulary) behind each question about each image.

        Args:
            questions: token ids of each image's questions.
        """
        counts = [len(group) for group in questions]
        if not any(counts):
            return [torch.zeros(0, 0) for _ in questions]
        longest = max(sum(map(len, group)) for group in questions)
        ids = torch.zeros(len(questions), longest, dtype=torch.long)
        owners, offsets = torch.full_like(ids, -1), torch.zeros_like(ids)  # padding belongs to no question
        for row, group in enumerate(questions):
            start = 0
            for number, question in enumerate(group):
                span = slice(start, start + len(question))
                ids[row, span], owners[row, span] = torch.tensor(question), number
                offsets[row, span] = torch.arange(len(question))
                start = span.stop
        device = self._model.device
        owners = owners.to(device)
        past = torch.ones(longest, longest, dtype=torch.bool, device=device).tril()
        own = (owners[:, :, None] == owners[:, None, :]) & past
        allowed = torch.cat([own.new_ones(len(questions), longest, self._length), own], -1)
        states = self._model.run(
            self._model.embed(ids), allowed, self._next + offsets.to(device), self._cache
        )
        self._cache.crop(-longest)
        rows = [row for row, group in enumerate(questions) for _ in group]
        ends = np.concatenate([np.cumsum([len(question) for question in group]) - 1 for group in questions])
        return list(torch.split(self._model.logits(states[rows, ends.astype(int).tolist()]), counts))

    def answers(
        self, questions: Sequence[Sequence[Sequence[int]]], yes: Sequence[int], no: Sequence[int]
    ) -> list[npt.NDArray[np.float64]]:
        """Return p(yes), p(no), (n_questions, 2), of each image's questions.

        Both are sums over the ids that an answer may begin with, of the softmax over the whole vocabulary.
        """
        answers = [[np.zeros((0, 2))] for _ in questions]
        for part in slices(max(map(len, questions), default=0), _QUESTIONS):
            for row, logits in enumerate(self.logits([group[part] for group in questions])):
                if len(logits):
                    p = logits.double().softmax(-1)
                    answers[row].append(torch.stack([p[:, list(ids)].sum(-1) for ids in (yes, no)], -1).cpu().numpy())
        return [np.concatenate(parts) for parts in answers]

