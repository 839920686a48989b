"""VQAScore (Lin 2024): how sure the judge is that the image shows the whole prompt, alone or with its own questions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from silmm.contracts.candidates import Candidate
from silmm.contracts.judges import FeedbackJudge
from silmm.errors import UsageError
from silmm_plugins.scoring.options import DualVqaScoreOptions, VqaScoreOptions

if TYPE_CHECKING:
    from jaxtyping import Float64


class VqaScore:
    """Score a candidate by p(yes) to one question about its whole prompt, the mean over its decodes."""

    def __init__(self, options: VqaScoreOptions) -> None:
        """Keep the options; see :class:`VqaScoreOptions`."""
        self.options = options

    def whole(
        self, candidates: Sequence[Candidate], judge: FeedbackJudge | None
    ) -> Float64[np.ndarray, " candidates"]:
        """Return p(yes) of the whole prompt for each candidate.

        Raises:
            UsageError: there is nobody to ask.
        """
        if judge is None:
            raise UsageError("vqascore asks a question of its own, and here are stored answers alone")
        images = [image for candidate in candidates for image in candidate.images]
        question = self.options.question.replace("{}", candidates[0].prompt.text)
        answers = judge.yes_no(images, [[question]] * len(images))
        p_yes = np.array([answer[0, 0] for answer in answers], dtype=np.float64)
        mean: Float64[np.ndarray, " candidates"] = p_yes.reshape(len(candidates), -1).mean(axis=1)
        return mean

    def score(self, candidates: Sequence[Candidate], judge: FeedbackJudge | None) -> list[float]:
        """Return p(yes) of the whole prompt, in [0, 1]."""
        return [float(value) for value in self.whole(candidates, judge)]


class DualVqaScore(VqaScore):
    """The whole and its parts: VQAScore combined with p(yes) of the questions that the run asked."""

    def __init__(self, options: DualVqaScoreOptions) -> None:
        """Keep the options; see :class:`DualVqaScoreOptions`."""
        super().__init__(options)
        self.geometric = options.mean == "geometric"

    def score(self, candidates: Sequence[Candidate], judge: FeedbackJudge | None) -> list[float]:
        """Return the mean of the two, in [0, 1]; the geometric one is 0 where either is."""
        whole = self.whole(candidates, judge)
        parts = np.array([c.answers[..., 0].mean() for c in candidates if c.answers is not None])
        both = np.sqrt(whole * parts) if self.geometric else (whole + parts) / 2
        return [float(value) for value in both]
