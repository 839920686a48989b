"""TIFA's answer matching: the choice whose MPNet embedding is nearest to the free answer's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silmm.errors import DataError
from silmm_benchmarks.judges.loading import Placement, broken_weights, load_pretrained
from silmm_benchmarks.judges.options import MatcherOptions
from silmm_benchmarks.judges.weight_files import fingerprint, locate

LONGEST = 384
"""Tokens of a text that are read, as sentence-transformers sets it for all-mpnet-base-v2."""


class MpnetMatcher:
    """Mean pooling over the mask, L2 norm, dot product, first of equals (docs/spec/benchmarks.md 2.3)."""

    def __init__(self, model: Any, tokenizer: Any, placement: Placement, weights: Mapping[str, str]) -> None:
        """Take a loaded encoder of transformers and its tokenizer."""
        self._model, self._tokenizer = model, tokenizer
        self._placement, self._weights = placement, weights
        self._longest = min(LONGEST, int(tokenizer.model_max_length))

    @classmethod
    def load(cls, options: MatcherOptions) -> MpnetMatcher:
        """Find the weights that the options name and load them.

        Raises:
            DataError: they are missing, broken or of another model.
        """
        from transformers import AutoModel, AutoTokenizer

        path, placement = locate("mpnet-match", options.weights), Placement.of(options)
        model = load_pretrained(AutoModel, path, placement, unused="pooler.")
        with broken_weights(path):
            tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        return cls(model, tokenizer, placement, fingerprint(path))

    @property
    def identity(self) -> Mapping[str, str]:
        """Judge, architecture, hash of the weights, precision, rule."""
        return {
            "judge": "mpnet-match", "architecture": type(self._model).__name__, **self._weights,
            **self._placement.identity, "rule": f"mean pooling, L2, dot product, {self._longest} tokens",
        }

    def match(self, answers: Sequence[str], choices: Sequence[Sequence[str]]) -> list[int]:
        """Return the index of the choice nearest to each answer, the first of equals.

        Raises:
            DataError: a question has no choices, or an embedding is not finite.
        """
        texts = list(dict.fromkeys([*answers, *(choice for group in choices for choice in group)]))
        if not texts:
            return []
        vectors = dict(zip(texts, self.embed(texts), strict=True))
        indices = []
        for answer, group in zip(answers, choices, strict=True):
            if not group:
                raise DataError(f"the answer {answer!r} has no choices to match; correct that question.")
            indices.append(int(np.argmax([vectors[choice] @ vectors[answer] for choice in group])))
        return indices

    def embed(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the unit embedding of each text, (texts, width).

        Raises:
            DataError: an embedding is not finite.
        """
        import torch

        # Texts of like length share a batch, so that little is padded; the order comes back.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        rows: list[NDArray[np.float64]] = [np.empty(0)] * len(texts)
        with torch.inference_mode():
            for part in self._placement.chunks(len(order)):
                inputs = self._tokenizer(
                    [texts[index] for index in order[part]], padding=True, truncation=True,
                    max_length=self._longest, return_tensors="pt",
                ).to(self._placement.device)
                states = self._model(**inputs).last_hidden_state.double()
                mask = inputs["attention_mask"][..., None].double()
                means = (states * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
                units = torch.nn.functional.normalize(means, dim=-1).cpu().numpy()
                for index, unit in zip(order[part], units, strict=True):
                    rows[index] = unit
        vectors = np.stack(rows)
        if not np.isfinite(vectors).all():
            raise DataError("the matcher's embeddings are not finite; take dtype=float32, check its weights.")
        return vectors
