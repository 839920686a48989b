"""The official files of one benchmark or judge: described, fetched, verified and counted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from silmm.errors import DataError
from silmm.storage.atomic_files import atomic_write, make_folder
from silmm.storage.data_sets import FileReport, Watch
from silmm.storage.json_files import read_json, to_json
from silmm.storage.lock import exclusive_lock
from silmm.storage.sha256_cache import sha256_file
from silmm_benchmarks.data.data_file import DataFile, Limits

TOGETHER = 6
"""Files that are fetched at the same time."""
MOST_FAILURES = 5
"""Failures after which the remaining files are not tried: a server or a line that is down would cost minutes each."""
RECORD = "recorded-sha256.json"
"""In the folder of a data set: file name -> SHA-256 of files without a published hash."""


@dataclass(frozen=True)
class OfficialData:
    """A data set: its files, and the function that reads them.

    Raises:
        ValueError: two files have one name, or a file has the name of the record.
    """

    files: Sequence[DataFile]
    load: Callable[[Path], str] | None = None
    """Reads the folder as the benchmark does, compares the counts with the specification and returns them in one
    line; raises DataError where they differ. None: there is nothing to count."""
    limits: Limits = field(default_factory=Limits)
    """Of each download."""

    def __post_init__(self) -> None:
        """Refuse files that would overwrite each other."""
        names = [file.name.casefold() for file in self.files]
        if len({*names, RECORD}) != len(names) + 1:
            raise ValueError(f"the files of a data set need distinct names, none of them {RECORD}: {names}")

    def pull(self, folder: Path, watch: Watch) -> list[FileReport]:
        """Fetch the files that `folder` lacks, and record the hashes that are not published.

        A file with other bytes than expected is fetched again, and replaced when the right one is complete. A file
        that fails stops no other, until five have failed.

        Raises:
            DataError: files could not be fetched, or have other bytes than expected.
            OutOfSpace: the disk is full.
        """
        reports = {report.name: report for report in self._states(folder)}
        if any(report.state != "ok" for report in reports.values()):
            make_folder(folder)
            with exclusive_lock(folder / ".lock"):
                reports = {report.name: report for report in self._states(folder)}
                reports |= self._record_present(folder, reports)
                reports |= self._fetch(folder, reports, watch)
        return [reports[file.name] for file in self.files]

    def check(self, folder: Path) -> list[FileReport]:
        """Compare files with their hashes, then the counts of the benchmark's loader; nothing is written."""
        reports = list(self._states(folder))
        if self.load is None or any(report.state in ("missing", "changed") for report in reports):
            return reports
        try:
            return [*reports, FileReport("", "ok", self.load(folder))]
        except DataError as error:
            return [*reports, FileReport("", "invalid", str(error))]

    def _states(self, folder: Path) -> Iterator[FileReport]:
        """Yield the state of each file."""
        recorded = read_recorded(folder)
        for file in self.files:
            path = folder / file.name
            if not path.is_file():
                remedy = f"`silmm data pull` fetches it from {file.url}, or put it at {path}."
                yield FileReport(file.name, "missing", remedy)
                continue
            actual, expected = sha256_file(path), file.sha256 or recorded.get(file.name)
            if expected is None:
                yield FileReport(file.name, "unrecorded", f"{actual}; `silmm data pull` records it.")
            elif actual == expected:
                yield FileReport(file.name, "ok", actual)
            else:
                yield FileReport(file.name, "changed", _changed(path, file, actual, expected))

    def _record_present(self, folder: Path, reports: Mapping[str, FileReport]) -> dict[str, FileReport]:
        """Record the hashes of files that were put into the folder by hand."""
        present = [report.name for report in reports.values() if report.state == "unrecorded"]
        hashes = {name: sha256_file(folder / name) for name in present}
        if hashes:
            record(folder, hashes)
        return {name: FileReport(name, "recorded", digest) for name, digest in hashes.items()}

    def _fetch(self, folder: Path, reports: Mapping[str, FileReport], watch: Watch) -> dict[str, FileReport]:
        from silmm_benchmarks.data.download import Download  # imported late: httpx
        from silmm_benchmarks.data.web_requests import web_client

        missing = [file for file in self.files if reports[file.name].state in ("missing", "changed")]
        recorded, stop = read_recorded(folder), threading.Event()
        done: dict[str, FileReport] = {}
        failures: list[DataError] = []
        with ThreadPoolExecutor(TOGETHER) as pool, web_client() as client:
            downloads = {
                pool.submit(Download(
                    file, folder / file.name, file.sha256 or recorded.get(file.name), partial(watch, file.name), client,
                    self.limits, stop,
                ).run): file
                for file in missing
            }
            try:
                for download in as_completed(downloads):
                    file = downloads[download]
                    try:
                        done[file.name] = self._arrived(folder, file, download.result())
                    except DataError as error:
                        failures.append(error)
                    if len(failures) >= MOST_FAILURES:
                        break
            finally:  # after Ctrl-C and a full disk too: running downloads stop at their next block
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
        if failures:
            raise DataError(_described(failures, len(missing) - len(done)))
        return done

    def _arrived(self, folder: Path, file: DataFile, digest: str) -> FileReport:
        state: Literal["downloaded", "recorded"] = "downloaded"
        if file.sha256 is None and file.name not in read_recorded(folder):
            record(folder, {file.name: digest})
            state = "recorded"
        return FileReport(file.name, state, digest)


def _changed(path: Path, file: DataFile, actual: str, expected: str) -> str:
    source = "its published SHA-256" if file.sha256 else f"the SHA-256 recorded in {RECORD}"
    return (
        f"{path} has the SHA-256 {actual}, and {source} is {expected}. "
        "`silmm data pull` fetches the right one and replaces it."
    )


def _described(failures: Sequence[DataError], missing: int) -> str:
    lines = [str(failure) for failure in failures]
    if missing > len(failures):
        lines.append(f"{missing - len(failures)} more files were not fetched.")
    return "\n".join(lines)


def read_recorded(folder: Path) -> dict[str, str]:
    """Return the recorded hashes of a data set's folder, by file name.

    Raises:
        DataError: the record is unreadable or malformed.
    """
    path = folder / RECORD
    if not path.is_file():
        return {}
    remedy = "Delete it; the hashes of the files in the folder will be recorded anew."
    recorded = read_json(path, remedy)
    if not all(isinstance(value, str) for value in recorded.values()):
        raise DataError(f"{path} holds something else than hashes. {remedy}")
    return dict(recorded)


def record(folder: Path, hashes: Mapping[str, str]) -> None:
    """Add hashes to the record; recorded ones stay as they are.

    Raises:
        DataError, OutOfSpace: the system refused the write.
    """
    recorded = read_recorded(folder)
    if hashes.keys() - recorded.keys():
        atomic_write(folder / RECORD, to_json(dict(hashes) | recorded))
