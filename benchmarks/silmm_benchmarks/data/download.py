"""Downloads one file: partial beside its target, resumed after a cut, verified, then renamed.

What survives: a kill or a cut connection leaves `.part-NAME-…` with the bytes so far, and the next call requests the
rest. The final name appears by one rename, after the bytes were verified and synced. What ends a download: a wrong
size or hash, more bytes than allowed, less free space than the file needs, a redirect away from https, tries without a
byte, and a time with too few bytes.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import tenacity

from silmm.errors import DataError, OutOfSpace
from silmm.storage.atomic_files import disk_errors, make_folder, sync_folder
from silmm.storage.sha256_cache import sha256_file
from silmm_benchmarks.data.data_file import DataFile, Limits
from silmm_benchmarks.data.hub import HubFile, hub_file
from silmm_benchmarks.data.web_requests import AGAIN, pause, retry_after

_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


class _Cut(Exception):
    """The server stopped before the end, or asks for another try later."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


class _Mismatch(DataError):
    """The server sent other bytes than expected."""


@dataclass
class Download:
    """The download of one file to `target`."""

    file: DataFile
    target: Path
    expected: str | None
    """SHA-256 that the bytes must have; None accepts what the server sends."""
    watch: Callable[[int, int | None], None]
    """Called with the number of bytes so far and the size, if it is known."""
    client: httpx.Client
    limits: Limits = field(default_factory=Limits)
    stop: threading.Event = field(default_factory=threading.Event)
    _hub: HubFile = field(init=False)
    _fruitless: int = field(default=0, init=False)
    _size_before: int = field(default=0, init=False)
    _mark: tuple[float, int] = field(default=(0.0, 0), init=False)
    """Time and size when the last `progress` bytes were complete."""

    def run(self) -> str:
        """Fetch and verify the file, rename it to `target` and return its SHA-256.

        Raises:
            DataError: the server refuses, does not answer, is too slow, or sends other bytes than expected.
            OutOfSpace: the disk is full; the partial file stays for the next call.
        """
        make_folder(self.target.parent)
        self._hub = hub_file(self.file.url)
        self.expected = self.expected or self._hub.sha256
        self._mark = (time.monotonic(), self._size_so_far())
        self._take_from_cache()
        resumed = self._size_so_far() > 0
        try:
            return self._whole()
        except _Mismatch:
            if not resumed:
                raise
        return self._whole()  # the partial file held other bytes: once more from the start

    @property
    def part(self) -> Path:
        """The partial file; another address has another one."""
        mark = hashlib.sha256(self.file.url.encode()).hexdigest()[:8]
        return self.target.parent / f".part-{self.target.name}-{mark}"

    @property
    def _tag(self) -> Path:
        return self.part.with_name(f"{self.part.name}.etag")

    @property
    def _size(self) -> int | None:
        return self._hub.size if self.file.size is None else self.file.size

    def _size_so_far(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _take_from_cache(self) -> None:
        """Copy the file from the hub's own cache, where it has the expected bytes."""
        cached = self._hub.cached
        if cached is not None and self.expected is not None and sha256_file(cached) == self.expected:
            with disk_errors(self.part, "writing"):
                shutil.copyfile(cached, self.part)

    def _whole(self) -> str:
        self._fetch()
        digest = sha256_file(self.part)
        if self.expected not in (None, digest):
            size = self._size_so_far()
            self._forget()
            raise _Mismatch(
                f"{self.file.url} sent {size} bytes with the SHA-256 {digest}, not the expected {self.expected}. "
                "Nothing was kept. Run the command again; if the message stays, the published file has changed: put "
                f"the right one at {self.target}."
            )
        with disk_errors(self.target, "writing"):
            self.part.replace(self.target)
            sync_folder(self.target.parent)
            self._tag.unlink(missing_ok=True)
        return digest

    # ------------------------------------------------------------------------------------------- tries

    def _fetch(self) -> None:
        """Request bytes until the partial file is complete; tries that bring new bytes do not count."""
        self._fruitless, self._size_before = 0, self._size_so_far()
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Cut), stop=self._gives_up, wait=self._pause,
            sleep=tenacity.sleep_using_event(self.stop), reraise=True,
        )
        try:
            retrying(self._request)
        except _Cut as cut:
            raise DataError(
                f"{self.file.url} could not be fetched after {self._fruitless} tries: {cut}. {self._kept()}"
            ) from cut

    def _gives_up(self, state: tenacity.RetryCallState) -> bool:
        del state
        size = self._size_so_far()
        self._fruitless = 1 if size > self._size_before else self._fruitless + 1
        self._size_before = size
        return self._fruitless >= self.limits.tries

    def _pause(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.pause if isinstance(error, _Cut) else None
        return pause(self._fruitless, self.limits.first_pause) if asked is None else asked

    def _request(self) -> None:
        """Send one request for the missing bytes, and write what arrives."""
        start = self._start()
        if start and start == self._size:
            return
        self._check(start)
        headers = dict(self._hub.headers)
        if start:
            headers["Range"] = f"bytes={start}-"
            if validator := self._validator():
                headers["If-Range"] = validator
        try:
            with self.client.stream("GET", self._hub.url, headers=headers) as response:
                if response.is_success:
                    self._take(response, start)
                else:
                    self._refused(response, start)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.TooManyRedirects) as error:
            message = f"{self.file.url} leads nowhere: {error}. Put the file at {self.target} by hand."
            raise DataError(message) from error
        except httpx.TransportError as error:
            raise _Cut(str(error) or type(error).__name__) from error

    def _check(self, size: int) -> None:
        """End a download that was stopped, or that gets too few bytes.

        Raises:
            DataError: it ends here; the partial file stays.
        """
        if self.stop.is_set():
            raise DataError(f"{self.file.name}: stopped; the partial file stays for the next time.")
        now = time.monotonic()
        if size < self._mark[1] or size - self._mark[1] >= self.limits.progress:
            self._mark = (now, size)
        elif now - self._mark[0] > self.limits.patience:
            raise DataError(
                f"{self.file.url} sent fewer than {self.limits.progress} bytes in {self.limits.patience:g} seconds. "
                f"{self._kept()}"
            )

    def _kept(self) -> str:
        return (
            f"{self._size_so_far()} bytes are kept: run the command again, or put the file at {self.target} by hand."
        )

    def _start(self) -> int:
        """Return where to continue; a partial file that may be of another version is deleted."""
        size = self._size_so_far()
        too_long = self._size is not None and size > self._size
        if size and (too_long or (self.expected is None and not self._validator())):
            self._forget()
            return 0
        return size

    def _validator(self) -> str:
        """Return the strong ETag of the partial file, or ""."""
        return self._tag.read_text("ascii") if self._tag.is_file() else ""

    # ----------------------------------------------------------------------------------------- answers

    def _take(self, response: httpx.Response, start: int) -> None:
        if response.headers.get("Content-Type", "").startswith("text/html") and not self.file.name.endswith(".html"):
            raise DataError(
                f"{self.file.url} answers with a web page, not with the file. Fetch it with a browser and put it at "
                f"{self.target}; the licence is: {self.file.licence}."
            )
        begin, total = _extent(response)
        if begin != start:
            self._forget()
            if begin:
                raise _Cut("the server answered with another part than the requested one")
        if self._size is not None and total not in (None, self._size):
            self._forget()
            raise _Mismatch(
                f"{self.file.url} has {total} bytes, not the expected {self._size}: the published file has changed. "
                f"Put the right file at {self.target}."
            )
        total = self._size if total is None else total
        self._check_room(begin, total)
        if not begin:
            self._keep_validator(response.headers.get("ETag", ""))
        self._write(response, begin, total)
        if total is not None and self._size_so_far() < total:
            raise _Cut(f"the connection ended after {self._size_so_far()} of {total} bytes")

    def _check_room(self, begin: int, total: int | None) -> None:
        """Refuse a file that is too large, before its bytes come.

        Raises:
            DataError: it is larger than any file of a data set.
            OutOfSpace: the disk has less room.
        """
        if total is None:
            return
        if total > self.limits.largest and self._size is None:
            raise DataError(f"{self.file.url} has {total} bytes, more than the {self.limits.largest} allowed.")
        free = shutil.disk_usage(self.target.parent).free
        if total - begin > free:
            raise OutOfSpace(
                f"{self.target} needs {(total - begin) / 1e9:.1f} GB more, and {free / 1e9:.1f} GB are free. Free some "
                "space and run the same command again."
            )

    def _keep_validator(self, tag: str) -> None:
        strong = tag.startswith('"') and tag.isascii() and tag.isprintable()
        with disk_errors(self._tag, "writing"):
            if strong:
                self._tag.write_text(tag, "ascii")
            else:
                self._tag.unlink(missing_ok=True)

    def _write(self, response: httpx.Response, begin: int, total: int | None) -> None:
        size, most = begin, self.limits.largest if total is None else total
        with disk_errors(self.part, "writing"):
            file = self.part.open("ab" if begin else "wb")
        with file:
            self.watch(size, total)
            for block in response.iter_raw():
                self._check(size)
                with disk_errors(self.part, "writing"):
                    file.write(block)
                    file.flush()
                size += len(block)
                self.watch(size, total)
                if size > most:
                    break  # a server that never ends; the hash will not fit
            with disk_errors(self.part, "writing"):
                os.fsync(file.fileno())
        if total is None and size > most:
            self._forget()
            raise DataError(f"{self.file.url} has more than the {most} bytes allowed.")

    def _refused(self, response: httpx.Response, start: int) -> None:
        code = response.status_code
        if code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            _, total = _extent(response)
            if total == start:
                return  # killed between the last byte and the rename
            self._forget()
            raise _Cut("the server has fewer bytes than the partial file", 0.0)
        if code in AGAIN:
            raise _Cut(f"HTTP {code} {response.reason_phrase}", retry_after(response.headers.get("Retry-After")))
        raise DataError(
            f"{self.file.url} answers HTTP {code} {response.reason_phrase}. If the file has moved, put it at "
            f"{self.target} by hand."
        )

    def _forget(self) -> None:
        with disk_errors(self.part, "deleting"):
            self.part.unlink(missing_ok=True)
            self._tag.unlink(missing_ok=True)


def _extent(response: httpx.Response) -> tuple[int, int | None]:
    """Return where the answer's bytes begin and how many the whole file has, if the server says."""
    if response.status_code in (httpx.codes.PARTIAL_CONTENT, httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE):
        match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None:
            return -1, None
        return int(match[1] or 0), None if match[2] == "*" else int(match[2])
    with suppress(ValueError):
        return 0, int(response.headers.get("Content-Length", ""))
    return 0, None
