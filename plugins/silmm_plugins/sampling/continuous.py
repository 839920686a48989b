"""Step 2, continuous: diverse features H of a deterministic model (Sec. 3.1 step 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from silmm.contracts.candidates import Sampled
from silmm.contracts.models import BaseModel
from silmm.contracts.options import Options, option
from silmm_plugins.models._shared.mlp_dropout import MlpDropoutOptions

if TYPE_CHECKING:
    import torch

_NOISE = 1 << 63
"""Second half of the key of a candidate's noise: no other user of its seed has the same stream."""
_BATCH_SIZE = "candidates per forward pass; a matter of memory and speed, without effect on the candidates"


class DropDivOptions(MlpDropoutOptions):
    """Options of `dropdiv`: those of the dropout, and the batch size."""

    batch_size: int = option(128, _BATCH_SIZE, ge=1, unit="candidates")


class NoisyDreamEmbOptions(Options):
    """Options of `noisy-dreamemb`."""

    scale: float = option(
        1.0,
        "standard deviation of the noise, relative to that of the query embeddings",
        ge=0.0, unit="standard deviations", paper="Sec. 4.3, Fig. 5 (no value given)",
    )
    batch_size: int = option(128, _BATCH_SIZE, ge=1, unit="candidates")


class DropDiv:
    """Dropout on the last few MLP blocks during the sampling of candidates alone (DropDiv)."""

    def __init__(self, options: DropDivOptions) -> None:
        """Keep the options; see :class:`DropDivOptions`."""
        self._options = options

    def sample(self, model: BaseModel, prompts: Sequence[str], seeds: Sequence[int]) -> list[Sampled]:
        """Return one H of shape (L, D) float32 per (prompt, seed) pair, in order; meta: the dropout.

        Raises:
            UsageError: `layers` asks for more layers than the model has.
        """
        import torch

        from silmm_plugins.models._shared.mlp_dropout import mlp_dropout

        sampled: list[Sampled] = []
        meta = self._options.model_dump(exclude={"batch_size"})
        with torch.no_grad():
            queries = model.features(prompts[:1]).shape[1] if prompts else 0
            for first in range(0, len(prompts), self._options.batch_size):
                rows = slice(first, first + self._options.batch_size)
                with mlp_dropout(model, seeds[rows], self._options, queries):
                    sampled += _with_meta(model.features(prompts[rows]), meta)
        return sampled


class NoisyDreamEmb:
    """Gaussian noise on the learnable query embeddings (Noisy DreamEmb of Fig. 5)."""

    def __init__(self, options: NoisyDreamEmbOptions) -> None:
        """Keep the options; see :class:`NoisyDreamEmbOptions`."""
        self._options = options

    def sample(self, model: BaseModel, prompts: Sequence[str], seeds: Sequence[int]) -> list[Sampled]:
        """Return one H of shape (L, D) float32 per (prompt, seed) pair, in order; meta: the scale of the noise."""
        import torch

        sampled: list[Sampled] = []
        meta = self._options.model_dump(exclude={"batch_size"})
        with torch.no_grad():
            embeddings = model.query_embeddings()
            deviation = self._options.scale * float(embeddings.float().std())
            for first in range(0, len(prompts), self._options.batch_size):
                rows = slice(first, first + self._options.batch_size)
                noise = _noise(seeds[rows], embeddings.shape[0], embeddings.shape[1]) * deviation
                sampled += _with_meta(model.features(prompts[rows], noise.to(embeddings)), meta)
        return sampled


def _noise(seeds: Sequence[int], length: int, width: int) -> torch.Tensor:
    """Return standard normal numbers (seeds, length, width), each row from its own seed alone."""
    import numpy as np
    import torch

    keys = (np.array([seed % 2**64, _NOISE], dtype=np.uint64) for seed in seeds)
    rows = [
        np.random.Generator(np.random.Philox(key=key)).standard_normal((length, width), dtype=np.float32)
        for key in keys
    ]
    return torch.from_numpy(np.stack(rows))


def _with_meta(features: torch.Tensor, meta: Mapping[str, Any]) -> list[Sampled]:
    return [Sampled(h, meta) for h in features.float().cpu().numpy()]
