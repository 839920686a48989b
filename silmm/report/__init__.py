"""The report of a run: one folder that opens from disk, without scripts or the network."""

from __future__ import annotations

from pathlib import Path

__all__ = ["PAGE", "write_report"]

PAGE = "index.html"


def write_report(run_dir: Path, out: Path | None = None) -> Path:
    """Write the report of a run and return the path of its page.

    Equal runs give equal bytes: wall-clock times are left out. A run that is not finished gets a report of its
    finished parts, also while another process works on it.

    Args:
        run_dir: a run directory.
        out: the folder to write, replaced as a whole; by default ``report`` in the run directory, which one
            process writes at a time.

    Raises:
        DataError: `run_dir` is no run directory, or a file in it is damaged.
        OutOfSpace: the disk is full; an earlier report stays as it was.
    """
    from silmm.report.reading import require_run
    from silmm.storage.atomic_files import clean_report
    from silmm.storage.lock import exclusive_lock
    from silmm.storage.paths import RunFolder  # imported late: this package is named in the help

    require_run(run_dir)
    if out is not None:
        return _write(run_dir, out)
    run = RunFolder(run_dir, shard_size=1)
    with exclusive_lock(run.report_lock_file):
        clean_report(run_dir)
        return _write(run_dir, run.report)


def _write(run_dir: Path, target: Path) -> Path:
    from silmm.report.gallery import Album
    from silmm.report.page import page
    from silmm.report.reading import read_run
    from silmm.storage.atomic_files import atomic_folder

    album = Album()
    text = page(read_run(run_dir), album)
    with atomic_folder(target) as folder:
        album.write(folder)
        (folder / PAGE).write_text(text, encoding="utf-8")
    return target / PAGE
