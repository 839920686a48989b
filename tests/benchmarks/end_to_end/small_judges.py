"""A plugin of small judges: real classes on tiny weights, a real detector, recorded answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from silmm_benchmarks.data.geneval_names import LABELS
from silmm_benchmarks.geneval.prompts import RENAMED
from silmm_benchmarks.judges.clip_colours import region_crop
from silmm_benchmarks.judges.run_length import encode_mask

from silmm import hookimpl
from silmm.contracts.judges import Detections, Region
from silmm.contracts.options import NoOptions, Options, option
from tests.benchmarks.geneval import golden_recipe

if TYPE_CHECKING:
    from PIL.Image import Image

    from silmm.contracts.judges import Question
    from silmm.contracts.registration import Register

SILMM_PLUGIN_API = 2
COCO_LABELS = {name: label for label, name in RENAMED.items()}
"""GenEval's class → COCO's label, where they differ."""


class FolderOptions(Options):
    """Where a judge's files lie."""

    weights: str = option("", "file or folder")


class RecordedAnswers:
    """A VQA judge that gives the answers of a published result file of TIFA."""

    def __init__(self, path: Path) -> None:
        details = json.loads(path.read_text())["question_details"]
        self._answers = {
            question: row["free_form_vqa"] for rows in details.values() for question, row in rows.items()
        }
        self.identity: Mapping[str, str] = {"judge": "recorded", "file": path.name}

    def answer(self, images: Sequence[Image], questions: Sequence[Sequence[Question]]) -> list[list[str]]:
        return [[self._answers[question.text] for question in asked] for asked in questions]


class ShapesAnswers:
    """A VQA judge of the shapes world: yes or no, always right."""

    identity: Mapping[str, str] = {"judge": "shapes-answers"}

    def answer(self, images: Sequence[Image], questions: Sequence[Sequence[Question]]) -> list[list[str]]:
        from silmm_benchmarks.shapes.shapes_judge import ShapesJudge

        pairs = ShapesJudge().yes_no(images, [[question.text for question in asked] for asked in questions])
        return [["yes" if yes else "no" for yes, _ in rows] for rows in pairs]


class PaintedObjects:
    """A detector that knows the painted images of GenEval's recording, and gives the objects of the recording."""

    labels = LABELS
    identity: Mapping[str, str] = {"judge": "painted"}

    def __init__(self, path: Path) -> None:
        self._objects = {}
        for case in json.loads(path.read_text())["end_to_end"]:
            image, masks = golden_recipe.painted(case)
            shapes = case["painted"]
            self._objects[image.tobytes()] = Detections(
                labels=tuple(COCO_LABELS.get(shape[0], shape[0]) for shape in shapes),
                scores=np.array([shape[6] for shape in shapes], dtype=np.float32),
                boxes=np.array([shape[2:6] for shape in shapes], dtype=np.float32).reshape(-1, 4),
                frame=image.size,
                masks=tuple(map(encode_mask, masks)) if case["with_mask"] else (),
            )

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        nothing = Detections((), np.zeros(0, np.float32), np.zeros((0, 4), np.float32), (1, 1))
        return [self._objects.get(image.tobytes(), nothing) for image in images]


class PaletteColours:
    """Names the colour of the recording's palette that is nearest to the mean of an object's crop."""

    identity: Mapping[str, str] = {"judge": "palette"}

    def colours(self, images: Sequence[Image], regions: Sequence[Sequence[Region]]) -> list[list[str]]:
        return [
            [golden_recipe.nearest_colour(region_crop(image, region)) for region in of_image]
            for image, of_image in zip(images, regions, strict=True)
        ]


def _unidet(which: str, options: FolderOptions) -> Any:
    from silmm_benchmarks.judges.options import UniDetOptions
    from silmm_benchmarks.judges.unidet.judge import UniDetJudge

    from tests.benchmarks.judges.unidet import recipe

    folder = Path(options.weights)
    given = UniDetOptions(weights=str(folder / f"{which}.pth"), labels=str(folder / "labels.json"))
    return UniDetJudge({"r50": recipe.TINY_R50, "rs50": recipe.TINY_RS50}[which], given)


def _r50(options: FolderOptions) -> Any:
    return _unidet("r50", options)


def _rs50(options: FolderOptions) -> Any:
    return _unidet("rs50", options)


def _clip(_: NoOptions) -> Any:
    import open_clip
    import torch
    from silmm_benchmarks.judges.clip_similarity import MODEL, ClipSimilarity
    from silmm_benchmarks.judges.loading import Placement

    from tests.benchmarks.judges import tiny_models

    placement = Placement(torch.device("cpu"), torch.float32, 16)
    tokenizer = open_clip.get_tokenizer(MODEL)
    return ClipSimilarity(tiny_models.clip(), tokenizer, placement, {"weights_sha256": "random, seed 8"})


def _coco(_: NoOptions) -> Any:
    from tests.benchmarks.judges import coco_detector

    return coco_detector.find()


def _recorded(options: FolderOptions) -> Any:
    return RecordedAnswers(Path(options.weights))


def _painted(options: FolderOptions) -> Any:
    return PaintedObjects(Path(options.weights))


def _palette(_: NoOptions) -> Any:
    return PaletteColours()


@hookimpl
def silmm_register_judges(register: Register) -> None:
    """Register them."""
    register("tiny-r50", _r50, summary="UniDet R50, narrow, on recipe weights", options=FolderOptions)
    register("tiny-rs50", _rs50, summary="UniDet ResNeSt-50, narrow, recipe weights", options=FolderOptions)
    register("tiny-clip", _clip, summary="open_clip's CLIP on random weights")
    register("coco", _coco, summary="MobileNet-SSD trained on COCO")
    register("shapes-answers", lambda _: ShapesAnswers(), summary="exact answers about the shapes world")
    register("painted", _painted, summary="the objects of GenEval's recording", options=FolderOptions)
    register("palette", _palette, summary="colours of GenEval's recording")
    register("recorded", _recorded, summary="the answers of a published result", options=FolderOptions)
