"""Writes what the official scripts write for each category, which other programs read (docs/spec/benchmarks.md 1.2).

For the category `complex` only the 3-in-1 files are written: its parts are asked for as each prompt's group needs
them, while the official scripts leave files of all three. The one line of CLIP's `score_avg.txt` is not written: no
recording of it was available.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

RESULT = "vqa_result.json"


@dataclass(frozen=True)
class Report:
    """The folder of a category's files below its images, and the file with the mean."""

    folder: str
    mean_file: str = ""
    mean_line: str = ""
    """With fields `total`, `count` and `mean`."""
    ranked: bool = False
    """Whether `question_id` is the image's rank, not the number in its name."""
    digits: bool = False
    """Whether answers are texts of four decimals."""


_BLIP = Report("annotation_blip", "blip_vqa_score.txt", "BLIP-VQA score:{mean}", ranked=True, digits=True)
REPORTS: Mapping[str, Report] = {
    "color": _BLIP,
    "shape": _BLIP,
    "texture": _BLIP,
    "spatial": Report("labels/annotation_obj_detection_2d", "avg_score.txt", "score avg:{mean}"),
    "3d_spatial": Report("labels/annotation_obj_detection_3d", "avg_result.txt", "avg score is {mean}"),
    "numeracy": Report("annotation_num", "score.txt", "total:{total} num:{count} avg:{mean}"),
    "non_spatial": Report("annotation_clip", ranked=True),
    "complex": Report("annotation_3_in_1", "vqa_score.txt", "score avg:{mean}", ranked=True),
}


def category_files(category: str, scores: Sequence[tuple[int, float]]) -> dict[str, str]:
    """Return the files of a category by name, below a folder called after it.

    Args:
        category: the official name.
        scores: number in the image's name, and score; at least one.
    """
    report = REPORTS[category]
    rows = [
        {
            "question_id": rank if report.ranked else number,
            "answer": f"{score:.4f}" if report.digits else score,
        }
        for rank, (number, score) in enumerate(sorted(scores, key=lambda row: row[0]))
    ]
    files = {RESULT: json.dumps(rows) + "\n"}
    if report.mean_file:
        total = sum(score for _, score in scores)
        line = report.mean_line.format(total=total, count=len(scores), mean=total / len(scores))
        files[report.mean_file] = line + "\n"
    return {f"{category}/{report.folder}/{name}": text for name, text in files.items()}
