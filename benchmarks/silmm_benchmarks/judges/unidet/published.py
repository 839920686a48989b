"""The published files: where they are, how large, and under which terms (docs/spec/unidet.md 14)."""

from __future__ import annotations

from pathlib import Path

from silmm.errors import DataError
from silmm.storage.user_folders import data_root
from silmm_benchmarks.data.data_file import DataFile

_WEIGHTS_LICENCE = (
    "none is stated for these weights. UniDet's code is Apache-2.0; they were trained on COCO, Objects365, "
    "OpenImages and Mapillary, whose own terms apply, so take them as non-commercial until you have checked"
)

LABELS = DataFile(
    name="detection_features.pt",
    url="https://raw.githubusercontent.com/Karine-Huang/T2I-CompBench/"
    "1b70949/UniDet_eval/dataset/detection_features.pt",
    sha256=None,
    size=None,
    licence="T2I-CompBench is MIT as a whole; the file comes with parts of Prismer under the NVIDIA Source "
    "Code License-NC, which is non-commercial.",
)

FILES: dict[str, tuple[DataFile, DataFile]] = {
    "unidet-r50": (
        DataFile(
            name="Unified_learned_OCIM_R50_6x+2x.pth",
            url="https://drive.usercontent.google.com/download?"
            "id=1C4sgkirmgMumKXXiLOPmCKNTZAc3oVbq&export=download&confirm=t",
            sha256=None,
            size=None,
            licence=f"{_WEIGHTS_LICENCE}.",
        ),
        LABELS,
    ),
    "unidet-rs200": (
        DataFile(
            name="Unified_learned_OCIM_RS200_6x+2x.pth",
            url="https://huggingface.co/shikunl/prismer/resolve/main/expert_weights/"
            "Unified_learned_OCIM_RS200_6x%2B2x.pth",
            sha256=None,
            size=None,
            licence=f"{_WEIGHTS_LICENCE}; this copy is Prismer's, whose licence (NVIDIA Source Code "
            "License-NC) is non-commercial.",
        ),
        LABELS,
    ),
}
"""Of each judge: its weights, then the names of its classes. Nobody has published their hashes."""

SIZES = {
    "Unified_learned_OCIM_R50_6x+2x.pth": "72.0 million numbers, about 0.29 GB",
    "Unified_learned_OCIM_RS200_6x+2x.pth": "120.7 million numbers, about 0.48 GB",
    LABELS.name: "a list of 722 names with what belongs to them",
}


def located(judge: str, weights: str, labels: str) -> tuple[Path, Path]:
    """Return the paths of weights and labels: as given, else in the judge's own data folder."""
    file, names = FILES[judge]
    path = Path(weights).expanduser() if weights else data_root() / judge
    if path.is_dir() or not weights:
        path /= file.name
    return path, Path(labels).expanduser() if labels else path.parent / names.name


def require_files(judge: str, weights: Path, labels: Path) -> None:
    """Say of a file that is not there what it is, where it comes from, and where to put it.

    Raises:
        DataError: one or both are missing; both in one message.
    """
    places = zip((weights, labels), FILES[judge], ("weights", "labels"), strict=True)
    absent = [
        f"The judge {judge} needs {path}, which is not there. It is {file.name} ({SIZES[file.name]}) from "
        f"{file.url}. Licence: {file.licence} `silmm data pull {judge}` fetches it; or put it there, or name "
        f"its place with the option `{option}`."
        for path, file, option in places if not path.is_file()
    ]
    if absent:
        raise DataError("\n".join(absent))
