"""Step 5, pairs: which candidates of a prompt are chosen and which rejected (Sec. 3.1, Table 7)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic import field_validator

from silmm.contracts.options import Options, option

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_SHAPE = re.compile(r"(\d+)x(\d+)")
_RANKS = re.compile(r"(\d+)-(\d+)")


class TopLastOptions(Options):
    """Options of `top-last`."""

    k: int = option(
        1,
        "candidates on each side: top-k × last-k pairs a prompt (DreamLLM 10)",
        ge=1, unit="candidates", paper="App. 10",
    )
    shape: str = option(
        "", "chosen x rejected when the sides differ, e.g. 10x5; overrides k", unit="candidates", paper="Fig. 4b"
    )
    rejected: str = option(
        "last",
        "ranks that rejected candidates come from, best first: 'last', or LOW-HIGH for the ranks LOW+1 to HIGH "
        "(20-30 of 30 candidates are the last ten)",
        unit="ranks", paper="Table 7",
    )
    margin: float = option(
        0.0, "least difference of the two scores; equal scores never make a pair", ge=0.0, unit="score"
    )

    @field_validator("shape")
    @classmethod
    def _check_shape(cls, value: str) -> str:
        match = _SHAPE.fullmatch(value)
        if value and (match is None or "0" in match.groups()):
            raise ValueError(f"{value!r} is not like 10x10 (chosen x rejected, both at least 1)")
        return value

    @field_validator("rejected")
    @classmethod
    def _check_rejected(cls, value: str) -> str:
        match = _RANKS.fullmatch(value)
        if value != "last" and (match is None or int(match[1]) >= int(match[2])):
            raise ValueError(f"{value!r} is neither 'last' nor ranks like 20-30 (low below high)")
        return value

    def sides(self) -> tuple[int, int]:
        """Return how many candidates are chosen and how many rejected."""
        match = _SHAPE.fullmatch(self.shape)
        return (int(match[1]), int(match[2])) if match else (self.k, self.k)


class TopLast:
    """Pair each of the best candidates with each of the worst (or of a range of ranks)."""

    def __init__(self, options: TopLastOptions) -> None:
        """Keep the options; see :class:`TopLastOptions`."""
        self.options = options

    def pairs(self, scores: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
        """Return (chosen, rejected) candidate indices, best chosen first, worst rejected first.

        `scores` has shape (candidates,). Candidates without a finite score take no rank. Equal
        scores rank by candidate index. Always s(chosen) > s(rejected), by the margin or more.
        """
        import numpy as np  # here: `silmm plugins` imports this module for its options

        values = np.asarray(scores, dtype=np.float64)
        ranked = [int(i) for i in np.argsort(-values, kind="stable") if np.isfinite(values[i])]
        n_chosen, n_rejected = self.options.sides()
        chosen = ranked[:n_chosen]
        rejected = self._rejectable(ranked)[::-1][:n_rejected]
        return [(c, r) for c in chosen for r in rejected if self._apart(values[c], values[r])]

    def _rejectable(self, ranked: list[int]) -> list[int]:
        match = _RANKS.fullmatch(self.options.rejected)
        return ranked[int(match[1]) : int(match[2])] if match else ranked

    def _apart(self, chosen: float, rejected: float) -> bool:
        difference = float(chosen - rejected)
        return difference > 0 and difference >= self.options.margin
