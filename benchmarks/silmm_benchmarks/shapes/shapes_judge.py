"""The exact parser of the shapes world as a judge of images: every answer is 1 or 0, and right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from silmm import __version__
from silmm.errors import DataError, PluginError
from silmm_benchmarks.shapes.exact_judge import ExactJudge
from silmm_benchmarks.shapes.facts import holds, parse_question
from silmm_benchmarks.shapes.language import Mention, Spec
from silmm_benchmarks.shapes.world import IMAGE_PX, LARGE, Object, Scene, render

if TYPE_CHECKING:
    from PIL.Image import Image


class ShapesJudge:
    """A YesNoJudge for images of 32x32 pixels and the questions of this world."""

    def __init__(self) -> None:
        """Build the templates."""
        self._judge = ExactJudge()

    @property
    def identity(self) -> Mapping[str, str]:
        """The parser, its version and its one threshold."""
        return {"parser": f"exact, silmm {__version__}", "match_threshold": str(self._judge.threshold)}

    def yes_no(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[NDArray[np.float64]]:
        """Return p(yes), p(no) for each question: (1, 0) where the answer is yes, else (0, 1).

        Raises:
            DataError: an image of another size, or a question that this world does not know.
        """
        for image in images:
            if image.size != (IMAGE_PX, IMAGE_PX):
                width, height = image.size
                raise DataError(
                    f"an image of {width}x{height} pixels does not belong to the shapes world, whose images are "
                    f"{IMAGE_PX}x{IMAGE_PX}; give this judge the images of a model that samples them"
                )
        if not images:
            return []
        scenes = self._judge.parse(np.stack([np.asarray(image.convert("RGB")) for image in images]))
        try:
            return [
                np.array(
                    [(1, 0) if holds(scene, parse_question(text)) else (0, 1) for text in asked], dtype=np.float64
                ).reshape(-1, 2)
                for scene, asked in zip(scenes, questions, strict=True)
            ]
        except ValueError as error:
            raise DataError(f"the shapes judge knows only its own world's questions: {error}") from error

    def canaries(self) -> list[str]:
        """Return the canaries that fail: an object that exists, one that does not, and a blank image."""
        try:
            check_canaries(self._judge)
        except PluginError as error:
            return [str(error)]
        return []


def check_canaries(judge: ExactJudge) -> None:
    """Let the judge find an object that exists, miss one that does not, and find nothing in a blank image.

    Raises:
        PluginError: a canary fails; no number of this judge can be trusted.
    """
    disc = Object("circle", "red", "plain", 1, 3, LARGE)
    images = np.stack([render(Scene((disc,))), render(Scene(()))])
    true, false = (Spec("color", (Mention("circle", color),)) for color in ("red", "blue"))
    verdicts = [
        bool(facts[0]) for facts in judge.facts(images[[0, 0, 1]], [true, false, true])
    ]
    if verdicts != [True, False, False]:
        raise PluginError(
            f"The shapes judge fails its canaries (true, false, blank image: {verdicts}); it cannot "
            "score. Reinstall silmm; if that does not help, report it."
        )
