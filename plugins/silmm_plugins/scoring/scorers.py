"""Step 4, scoring: one score for an image from the model's own answers (Eq. 1, Table 2)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_ROUNDING = 1e-2
"""How far p(yes) + p(no) may exceed 1: a softmax in bfloat16 is off by up to 0.002."""


def _checked(p_yes_no: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the answers as float64 of shape (n_questions, 2), or raise ValueError."""
    answers = np.asarray(p_yes_no, dtype=np.float64)
    if answers.ndim != 2 or answers.shape[1] != 2:
        raise ValueError(f"answers must have shape (n_questions, 2), not {answers.shape}")
    if not len(answers):
        raise ValueError("an image without questions has no score")
    if not np.isfinite(answers).all():
        raise ValueError("an answer probability is not finite")
    if (answers < 0).any() or (answers.sum(axis=1) > 1 + _ROUNDING).any():
        raise ValueError("p(yes) and p(no) must be probabilities that add up to at most 1")
    return answers


class DiffOfProb:
    """The paper's score: the mean of p(yes) - p(no) over the questions (Eq. 1), in [-1, 1]."""

    def score(self, p_yes_no: npt.NDArray[np.float64], seed: int) -> float:  # noqa: ARG002 - no chance in it
        """Return Eq. 1 of (n_questions, 2) answers; ValueError if none or not finite."""
        answers = _checked(p_yes_no)
        return float((answers[:, 0] - answers[:, 1]).mean())


class RatioOfYes:
    """The ablation of Table 2: the share of questions answered yes; a tie is not a yes."""

    def score(self, p_yes_no: npt.NDArray[np.float64], seed: int) -> float:  # noqa: ARG002 - no chance in it
        """Return the share of questions with p(yes) > p(no); ValueError as for Eq. 1."""
        answers = _checked(p_yes_no)
        return float((answers[:, 0] > answers[:, 1]).mean())


class RandomScore:
    """The control of Table 2: a number in [-1, 1) of the seed alone, not of the answers."""

    def score(self, p_yes_no: npt.NDArray[np.float64], seed: int) -> float:
        """Return a uniform number of the seed; what cannot be scored still raises ValueError."""
        _checked(p_yes_no)
        return float(np.random.default_rng(seed % 2**63).uniform(-1.0, 1.0))
