"""The exact parser of the shapes world as a judge of images: every answer is 1 or 0, and right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from silmm import __version__
from silmm.errors import DataError, PluginError
from silmm_benchmarks.shapes.facts import holds, parse_question
from silmm_benchmarks.shapes.judge import Judge
from silmm_benchmarks.shapes.world import IMAGE_PX

if TYPE_CHECKING:
    from PIL.Image import Image


class ShapesJudge:
    """A YesNoJudge that reads images of 32x32 pixels and the questions of this world."""

    def __init__(self) -> None:
        """Build the templates."""
        self._judge = Judge()

    @property
    def identity(self) -> Mapping[str, str]:
        """The parser, its version and its one threshold."""
        return {"parser": f"exact, silmm {__version__}", "match_threshold": str(self._judge.threshold)}

    def p_yes(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[NDArray[np.float64]]:
        """Return 1.0 for each question of which the answer is yes, else 0.0.

        Raises:
            DataError: an image of another size, or a question that this world does not know.
        """
        for image in images:
            if image.size != (IMAGE_PX, IMAGE_PX):
                width, height = image.size
                raise DataError(
                    f"an image of {width}x{height} pixels is none of the shapes world, whose images are "
                    f"{IMAGE_PX}x{IMAGE_PX}; give this judge the images of a model that samples them"
                )
        if not images:
            return []
        scenes = self._judge.parse(np.stack([np.asarray(image.convert("RGB")) for image in images]))
        try:
            return [
                np.array([float(holds(scene, parse_question(text))) for text in asked], dtype=np.float64)
                for scene, asked in zip(scenes, questions, strict=True)
            ]
        except ValueError as error:
            raise DataError(f"the shapes judge knows its own world's questions alone: {error}") from error

    def canaries(self) -> list[str]:
        """Say what it gets wrong of what is known: something there, not there, and a blank image."""
        from silmm_benchmarks.shapes.benchmark import check_canaries

        try:
            check_canaries(self._judge)
        except PluginError as error:
            return [str(error)]
        return []
