"""The official file of GenEval that is read (github.com/djghosh13/geneval at af4902f)."""

from __future__ import annotations

from silmm_benchmarks.data.data_file import DataFile

METADATA = "evaluation_metadata.jsonl"

FILES = (
    DataFile(
        METADATA,
        f"https://raw.githubusercontent.com/djghosh13/geneval/af4902f/prompts/{METADATA}",
        sha256="5c48e0813e812e3c373fa5c8ed07a8f0a483be30272b4427b0559c8048e67c13",
        size=85_209,
        licence="MIT, (c) 2023 Dhruba Ghosh",
    ),
)
