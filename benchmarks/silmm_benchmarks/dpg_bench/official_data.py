"""The official files of DPG-Bench (github.com/TencentQQGYLab/ELLA at 3c228f1): questions and prompts."""

from __future__ import annotations

from importlib.resources import files

from silmm_benchmarks.data.data_file import DataFile

QUESTIONS = "dpg_bench.csv"

_HOME = "https://raw.githubusercontent.com/TencentQQGYLab/ELLA/3c228f1/dpg_bench"
_LICENCE = "Apache-2.0"


def _prompts() -> tuple[DataFile, ...]:
    """Read hash, size and name of each prompt file from the list beside this module."""
    listed = files(__package__).joinpath("prompts.sha256").read_text(encoding="ascii")
    rows = (line.split(" ") for line in listed.splitlines())
    return tuple(
        DataFile(f"prompts/{name}", f"{_HOME}/prompts/{name}", digest, int(size), _LICENCE)
        for digest, size, name in rows
    )


FILES = (
    DataFile(QUESTIONS, f"{_HOME}/{QUESTIONS}", sha256=None, size=None, licence=_LICENCE),
    *_prompts(),
)
