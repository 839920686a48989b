"""Step 5, pairs: which candidates of a prompt are chosen and which rejected (Sec. 3.1, Table 7)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias

from pydantic import field_validator

from silmm.contracts.candidates import Candidate, Pair
from silmm.contracts.options import Options, option

_SHAPE = re.compile(r"(\d+)x(\d+)")
_RANKS = re.compile(r"(\d+)-(\d+)")


Ranked: TypeAlias = "list[tuple[float, int]]"
"""(score, index) of candidates, best first."""


def by_score(candidates: Sequence[Candidate]) -> Ranked:
    """Return the scored candidates, best first; equal scores stand by index."""
    scored = [(candidate.score, candidate.index) for candidate in candidates if candidate.score is not None]
    return sorted(scored, key=lambda pair: (-pair[0], pair[1]))


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

    def pairs(self, candidates: Sequence[Candidate]) -> list[Pair]:
        """Return pairs, best chosen first, worst rejected first.

        Candidates without a score take no rank; equal scores rank by index. Always s(chosen) > s(rejected), by
        the margin or more.
        """
        ranked = by_score(candidates)
        n_chosen, n_rejected = self.options.sides()
        rejected = self._rejectable(ranked)[::-1][:n_rejected]
        return [
            Pair(c, r) for c_score, c in ranked[:n_chosen] for r_score, r in rejected
            if c_score > r_score and c_score - r_score >= self.options.margin
        ]

    def _rejectable(self, ranked: Ranked) -> Ranked:
        match = _RANKS.fullmatch(self.options.rejected)
        return ranked[int(match[1]) : int(match[2])] if match else ranked


class MarginOptions(Options):
    """Options of `margin`."""

    k: int = option(1, "best candidates that are chosen", ge=1, unit="candidates")
    gap: float = option(0.1, "least difference of the two scores", gt=0.0, unit="score")
    negatives: int = option(1, "rejected candidates per chosen: the nearest below the gap", ge=1, unit="candidates")


class Margin:
    """Pair each of the best candidates with the nearest ones that are clearly worse: hard negatives."""

    def __init__(self, options: MarginOptions) -> None:
        """Keep the options; see :class:`MarginOptions`."""
        self.options = options

    def pairs(self, candidates: Sequence[Candidate]) -> list[Pair]:
        """Return pairs, best chosen first, nearest rejected first; s(chosen) - s(rejected) is the gap or more."""
        ranked = by_score(candidates)
        return [
            Pair(chosen, rejected)
            for best, chosen in ranked[: self.options.k]
            for rejected in [r for score, r in ranked if best - score >= self.options.gap][: self.options.negatives]
        ]
