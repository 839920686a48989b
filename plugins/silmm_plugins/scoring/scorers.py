"""Step 4, scoring: one score per image from the model's own answers (Eq. 1, Table 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from silmm.contracts.candidates import Candidate
from silmm.contracts.judges import FeedbackJudge

if TYPE_CHECKING:
    from jaxtyping import Float64


def diff_of_prob(answers: Float64[np.ndarray, "questions 2"]) -> float:
    """Return the mean of p(yes) - p(no) over the questions (Eq. 1), in [-1, 1]: the paper's score."""
    return float((answers[:, 0] - answers[:, 1]).mean())


def ratio_of_yes(answers: Float64[np.ndarray, "questions 2"]) -> float:
    """Return the share of questions answered yes (the ablation of Table 2); a tie is not a yes."""
    return float((answers[:, 0] > answers[:, 1]).mean())


class RandomScore:
    """The control of Table 2: a number in [-1, 1) of the seed alone, not of the answers."""

    def score(self, candidates: Sequence[Candidate], judge: FeedbackJudge | None = None) -> list[float]:
        """Return a uniform number per candidate."""
        del judge
        seeds = (candidate.score_seed % 2**63 for candidate in candidates)
        return [float(np.random.default_rng(seed).uniform(-1.0, 1.0)) for seed in seeds]
