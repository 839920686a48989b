"""The official files of one benchmark or judge: fetched, verified and counted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from silmm.errors import DataError
from silmm.storage.atomic_files import make_folder
from silmm.storage.data_sets import FileReport, Watch
from silmm.storage.lock import turn
from silmm.storage.sha256_cache import sha256_file
from silmm_benchmarks.data.download import Download
from silmm_benchmarks.data.files import DataFile
from silmm_benchmarks.data.recorded import NAME as RECORD
from silmm_benchmarks.data.recorded import read_recorded, record

TOGETHER = 6
"""Files that are fetched at the same time."""
ENOUGH = 5
"""Failures after which the rest is not tried: a home or a line that is down would cost minutes a file."""


@dataclass(frozen=True)
class OfficialData:
    """A data set: its files, and what reads them.

    Raises:
        ValueError: two files have one name, or a file has the name of the record.
    """

    files: Sequence[DataFile]
    load: Callable[[Path], str] | None = None
    """Reads the folder as the benchmark does, compares the counts with the specification and tells them in a
    line; raises DataError where they differ. None: there is nothing to count."""
    first_pause: float = 1.0
    """Seconds before the second try of a request; doubled each time."""

    def __post_init__(self) -> None:
        """Refuse files that would overwrite each other."""
        names = [file.name.casefold() for file in self.files]
        if len({*names, RECORD}) != len(names) + 1:
            raise ValueError(f"the files of a data set have names of their own, none is {RECORD}: {names}")

    def pull(self, folder: Path, watch: Watch) -> list[FileReport]:
        """Bring what is not in `folder` and write down the hashes that nobody has published.

        A file that is here and is not the expected one is fetched again, and replaced when the right one has
        come. A file that fails stops no other, until five have failed.

        Raises:
            DataError: files could not be fetched, or came with other bytes than expected.
            OutOfSpace: the disk is full.
        """
        reports = {report.name: report for report in self._look(folder)}
        if any(report.state != "ok" for report in reports.values()):
            make_folder(folder)
            with turn(folder / ".lock"):
                reports = {report.name: report for report in self._look(folder)}
                reports |= self._record_present(folder, reports)
                reports |= self._fetch(folder, reports, watch)
        return [reports[file.name] for file in self.files]

    def check(self, folder: Path) -> list[FileReport]:
        """Compare files with their hashes, then let the benchmark's own loader count; nothing is written."""
        reports = list(self._look(folder))
        if self.load is None or any(report.state in ("missing", "changed") for report in reports):
            return reports
        try:
            return [*reports, FileReport("", "ok", self.load(folder))]
        except DataError as error:
            return [*reports, FileReport("", "invalid", str(error))]

    def _look(self, folder: Path) -> Iterator[FileReport]:
        """Say of each file whether it is here, and the one that it should be."""
        recorded = read_recorded(folder)
        for file in self.files:
            path = folder / file.name
            if not path.is_file():
                way = f"`silmm data pull` fetches it from {file.url}, or put it at {path}"
                yield FileReport(file.name, "missing", f"{way}.")
                continue
            actual, expected = sha256_file(path), file.sha256 or recorded.get(file.name)
            if expected is None:
                yield FileReport(file.name, "unrecorded", f"{actual}; `silmm data pull` writes it down.")
            elif actual == expected:
                yield FileReport(file.name, "ok", actual)
            else:
                yield FileReport(file.name, "changed", _changed(path, file, actual, expected))

    def _record_present(self, folder: Path, reports: Mapping[str, FileReport]) -> dict[str, FileReport]:
        """Write down the hashes of files that somebody put here by hand."""
        here = [report.name for report in reports.values() if report.state == "unrecorded"]
        hashes = {name: sha256_file(folder / name) for name in here}
        if hashes:
            record(folder, hashes)
        return {name: FileReport(name, "recorded", digest) for name, digest in hashes.items()}

    def _fetch(self, folder: Path, reports: Mapping[str, FileReport], watch: Watch) -> dict[str, FileReport]:
        wanted = [file for file in self.files if reports[file.name].state in ("missing", "changed")]
        recorded, stop = read_recorded(folder), threading.Event()
        done: dict[str, FileReport] = {}
        failures: list[DataError] = []
        with ThreadPoolExecutor(TOGETHER) as pool:
            tasks = {
                pool.submit(
                    Download(
                        file,
                        folder / file.name,
                        file.sha256 or recorded.get(file.name),
                        _watching(watch, file.name),
                        self.first_pause,
                        stop,
                    ).run
                ): file
                for file in wanted
            }
            try:
                for task in as_completed(tasks):
                    try:
                        done[tasks[task].name] = self._arrived(folder, tasks[task], task.result())
                    except DataError as error:
                        failures.append(error)
                    if len(failures) >= ENOUGH:
                        break
            finally:  # after Ctrl-C and a full disk too: what is under way stops at its next block
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
        if failures:
            raise DataError(_described(failures, len(wanted) - len(done)))
        return done

    def _arrived(self, folder: Path, file: DataFile, digest: str) -> FileReport:
        state: Literal["downloaded", "recorded"] = "downloaded"
        if file.sha256 is None and file.name not in read_recorded(folder):
            record(folder, {file.name: digest})
            state = "recorded"
        return FileReport(file.name, state, digest)


def _watching(watch: Watch, name: str) -> Callable[[int, int | None], None]:
    return lambda done, total: watch(name, done, total)


def _changed(path: Path, file: DataFile, actual: str, expected: str) -> str:
    source = "its published SHA-256" if file.sha256 else f"the SHA-256 recorded in {RECORD}"
    return (
        f"{path} has the SHA-256 {actual}, and {source} is {expected}. "
        "`silmm data pull` fetches the right one and replaces this."
    )


def _described(failures: Sequence[DataError], missing: int) -> str:
    lines = [str(failure) for failure in failures]
    if missing > len(failures):
        lines.append(f"{missing - len(failures)} more files were not fetched.")
    return "\n".join(lines)
