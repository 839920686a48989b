"""Writes the files that a benchmark's official scripts write, beside the result (`--official-files`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from silmm.bench.result import Finding
from silmm.contracts.benchmarks import OfficialFiles
from silmm.storage.atomic_files import atomic_write

SUFFIX = ".files"


def write_official(finding: Finding, path: Path, note: Callable[[str], None]) -> list[Path]:
    """Write them into the folder `<result>.files`; a benchmark without such files is told by `note`.

    Args:
        finding: what was scored, in mode `official`.
        path: the result file.
        note: told where they are.

    Raises:
        DataError: the official scripts could write nothing either.
    """
    benchmark, folder = finding.benchmark, path.with_suffix(SUFFIX)
    if not isinstance(benchmark, OfficialFiles):
        note(f"{benchmark.name}: --official-files writes nothing; the result file has all numbers")
        return []
    counted = [one for one in finding.scored if one.failed is None]
    columns = benchmark.columns(
        finding.items, [(one.item, one.image.index, one.scores) for one in counted], finding.mode
    )
    texts = benchmark.official_files(
        [(one.image, one.judged, one.scores) for one in counted], columns, finding.folder, folder
    )
    for name, text in texts.items():
        atomic_write(folder / name, text.encode())
    note(f"{benchmark.name}: official files in {folder}")
    return [folder / name for name in texts]
