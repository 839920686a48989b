"""The official files of TIFA v1.0 (github.com/Yushi-Hu/tifa at 8e37050)."""

from __future__ import annotations

from silmm_benchmarks.data.data_file import DataFile

TEXTS = "tifa_v1.0_text_inputs.json"
QUESTIONS = "tifa_v1.0_question_answers.json"

_HOME = "https://raw.githubusercontent.com/Yushi-Hu/tifa/8e37050f44ab4ee681e4251f3c8a9d4cc86e901e/tifa_v1.0"
_LICENCE = "Apache-2.0 (COCO captions: CC-BY-4.0)"

FILES = (
    DataFile(
        TEXTS,
        f"{_HOME}/{TEXTS}",
        sha256="650281d508b056ac9782bc84d5493626424ee851a8778af90b9db554cfbc1a0f",
        size=549_960,
        licence=_LICENCE,
    ),
    DataFile(QUESTIONS, f"{_HOME}/{QUESTIONS}", sha256=None, size=None, licence=_LICENCE),
)
