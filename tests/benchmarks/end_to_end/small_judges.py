"""A plugin of small judges: real classes on tiny weights, a real detector, recorded answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silmm import hookimpl
from silmm.contracts.options import NoOptions, Options, option

if TYPE_CHECKING:
    from PIL.Image import Image

    from silmm.contracts.judges import Question
    from silmm.contracts.registration import Register

SILMM_PLUGIN_API = 2


class FolderOptions(Options):
    """Where a judge's files are."""

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


@hookimpl
def silmm_register_judges(register: Register) -> None:
    """Register them."""
    register("tiny-r50", _r50, summary="UniDet R50, narrow, on recipe weights", options=FolderOptions)
    register("tiny-rs50", _rs50, summary="UniDet ResNeSt-50, narrow, recipe weights", options=FolderOptions)
    register("tiny-clip", _clip, summary="open_clip's CLIP on random weights")
    register("coco", _coco, summary="MobileNet-SSD trained on COCO")
    register("shapes-answers", lambda _: ShapesAnswers(), summary="exact answers about the shapes world")
    register("recorded", _recorded, summary="the answers of a published result", options=FolderOptions)
