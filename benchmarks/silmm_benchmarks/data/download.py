"""One file from its home to the disk: partial beside its place, resumed after a cut, verified, then renamed.

What survives: a kill or a cut connection leaves `.part-NAME-…` with the bytes so far, and the next call asks
the home for the rest. The final name appears by one rename, after the bytes were verified and synced.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPResponse
from pathlib import Path

from silmm.errors import DataError
from silmm.storage.atomic_files import disk_errors, make_folder, sync_folder
from silmm.storage.sha256_cache import sha256_file
from silmm_benchmarks.data.files import DataFile
from silmm_benchmarks.data.retries import AGAIN, CUT, pause, retry_after
from silmm_benchmarks.data.web import opener

BLOCK = 1 << 18
"""Bytes read at a time: progress moves, and a stop is heard, on slow lines too."""
TRIES = 5
"""Tries in a row that bring no new byte."""
SILENCE = 60.0
"""Seconds without a byte after which a connection counts as cut."""
_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


class _Cut(Exception):
    """The home stopped before the end, or asks to come again later."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


@dataclass
class Download:
    """The way of one file to `target`."""

    file: DataFile
    target: Path
    expected: str | None
    """SHA-256 that the bytes must have; None takes what the home gives."""
    watch: Callable[[int, int | None], None]
    """Called with the bytes so far and the size, if it is known."""
    first_pause: float = 1.0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> str:
        """Fetch and verify the file, put it in its place and return its SHA-256.

        Raises:
            DataError: the home refuses, does not answer, or gives other bytes than expected.
            OutOfSpace: the disk is full; what is here stays for the next call.
        """
        make_folder(self.target.parent)
        resumed = self._size() > 0
        try:
            return self._whole()
        except _Mismatch:
            if not resumed:
                raise
        return self._whole()  # the left-over was of other bytes: once more from the start

    @property
    def part(self) -> Path:
        """The file of the bytes so far; another home has another one."""
        mark = hashlib.sha256(self.file.url.encode()).hexdigest()[:8]
        return self.target.parent / f".part-{self.target.name}-{mark}"

    @property
    def _tag(self) -> Path:
        return self.part.with_name(f"{self.part.name}.etag")

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _whole(self) -> str:
        self._fetch()
        digest = sha256_file(self.part)
        if self.expected not in (None, digest):
            size = self._size()
            self._forget()
            raise _Mismatch(
                f"{self.file.url} gave {size} bytes with the SHA-256 {digest}, not the expected "
                f"{self.expected}. Nothing was kept. Run the command again; if it stays so, the file has "
                f"changed at its home: put the right one at {self.target}."
            )
        with disk_errors(self.target, "writing"):
            self.part.replace(self.target)
            sync_folder(self.target.parent)
            self._tag.unlink(missing_ok=True)
        return digest

    def _fetch(self) -> None:
        """Bring bytes until the part is whole; tries that bring something do not count."""
        attempt, before = 0, self._size()
        while True:
            try:
                return self._some()
            except _Cut as cut:
                now = self._size()
                attempt = 1 if now > before else attempt + 1
                before = now
                if attempt >= TRIES:
                    raise DataError(
                        f"{self.file.url} could not be fetched after {attempt} tries: {cut}. {now} bytes are "
                        f"kept: run the command again, or put the file at {self.target} by hand."
                    ) from cut
                self._wait(cut.wait if cut.wait is not None else pause(attempt, self.first_pause))

    def _wait(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise DataError(f"{self.file.name}: stopped; what is here stays for the next time.")

    def _some(self) -> None:
        """Ask once for what is missing, and take what comes."""
        start = self._start()
        if start and start == self.file.size:
            return
        try:
            with opener().open(self._request(start), timeout=SILENCE) as response:
                self._take(response, start)
        except urllib.error.HTTPError as error:
            with error:
                self._refused(error, start)
        except CUT as error:
            raise _Cut(str(getattr(error, "reason", "") or error) or type(error).__name__) from error

    def _start(self) -> int:
        """Return where to go on; a part that cannot be told from another version's is thrown away."""
        size = self._size()
        too_long = self.file.size is not None and size > self.file.size
        if size and (too_long or (self.expected is None and not self._validator())):
            self._forget()
            return 0
        return size

    def _validator(self) -> str:
        """Return the strong ETag under which the part was begun, or ""."""
        return self._tag.read_text("ascii") if self._tag.is_file() else ""

    def _request(self, start: int) -> urllib.request.Request:
        request = urllib.request.Request(self.file.url, headers={"Accept-Encoding": "identity"})  # noqa: S310
        if start:
            request.add_header("Range", f"bytes={start}-")
            if tag := self._validator():
                request.add_header("If-Range", tag)
        return request

    def _take(self, response: HTTPResponse, start: int) -> None:
        if response.headers.get_content_type() == "text/html" and not self.file.name.endswith(".html"):
            raise DataError(
                f"{self.file.url} answers with a web page, not with the file. Fetch it with a browser and "
                f"put it at {self.target}; the licence is: {self.file.licence}."
            )
        begin, total = _extent(response)
        if begin != start:
            self._forget()
            if begin:
                raise _Cut("the home answered with another part than the one asked for")
        if self.file.size is not None and total not in (None, self.file.size):
            self._forget()
            raise _Mismatch(
                f"{self.file.url} has {total} bytes, not the expected {self.file.size}: it has changed at "
                f"its home. Put the right file at {self.target}."
            )
        if not begin:
            self._note(response.headers.get("ETag", ""))
        total = self.file.size if total is None else total
        self._write(response, begin, total)
        if total is not None and self._size() < total:
            raise _Cut(f"the connection ended after {self._size()} of {total} bytes")

    def _note(self, tag: str) -> None:
        strong = tag.startswith('"') and tag.isascii() and tag.isprintable()
        with disk_errors(self._tag, "writing"):
            if strong:
                self._tag.write_text(tag, "ascii")
            else:
                self._tag.unlink(missing_ok=True)

    def _write(self, response: HTTPResponse, begin: int, total: int | None) -> None:
        done = begin
        with disk_errors(self.part, "writing"):
            file = self.part.open("ab" if begin else "wb")
        with file:
            self.watch(done, total)
            while block := self._block(response):
                with disk_errors(self.part, "writing"):
                    file.write(block)
                    file.flush()
                done += len(block)
                self.watch(done, total)
                if total is not None and done > total:
                    break  # a home that never ends; the hash will not fit
            with disk_errors(self.part, "writing"):
                os.fsync(file.fileno())

    def _block(self, response: HTTPResponse) -> bytes:
        if self.stop.is_set():
            raise DataError(f"{self.file.name}: stopped; what is here stays for the next time.")
        return response.read1(BLOCK)

    def _refused(self, error: urllib.error.HTTPError, start: int) -> None:
        if error.code == 416 and start:
            _, total = _extent(error)
            if total == start:
                return  # killed between the last byte and the rename
            self._forget()
            raise _Cut("the home has fewer bytes than are here", 0.0)
        if error.code in AGAIN:
            raise _Cut(f"HTTP {error.code} {error.reason}", retry_after(error.headers.get("Retry-After")))
        raise DataError(
            f"{self.file.url} answers HTTP {error.code} {error.reason}. If its home has moved, put the file "
            f"at {self.target} by hand."
        )

    def _forget(self) -> None:
        with disk_errors(self.part, "deleting"):
            self.part.unlink(missing_ok=True)
            self._tag.unlink(missing_ok=True)


class _Mismatch(DataError):
    """The home gave other bytes than expected."""


def _extent(response: HTTPResponse | urllib.error.HTTPError) -> tuple[int, int | None]:
    """Return where the answer's bytes begin and how many the whole file has, if the home tells."""
    if response.status in (206, 416):
        match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None:
            return -1, None
        return int(match[1] or 0), None if match[2] == "*" else int(match[2])
    with suppress(ValueError):
        return 0, int(response.headers.get("Content-Length", ""))
    return 0, None
