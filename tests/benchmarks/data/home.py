"""A real web server on this machine that serves files and misbehaves as it is told."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.benchmarks.local_server import running

Act = Callable[["Answer"], None]


@dataclass
class Home:
    """What is served, under which ETag, and how the next requests of each path are answered."""

    files: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    acts: dict[str, list[Act]] = field(default_factory=dict)
    """Path -> answers of the first requests; after them it is served well."""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Path and headers of each request."""
    address: str = ""

    def url(self, name: str) -> str:
        return f"{self.address}/{name}"

    def ranges(self) -> list[str | None]:
        """The Range header of each request."""
        return [headers.get("Range") for _, headers in self.asked]


class Answer(BaseHTTPRequestHandler):
    """Serves a `Home` with ranges, as web servers do."""

    home: Home
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        self.home.asked.append((name, dict(self.headers)))
        acts = self.home.acts.get(name, [])
        act = acts.pop(0) if acts else serve() if name in self.home.files else status(404)
        act(self)

    def do_HEAD(self) -> None:
        """Say what there is, as the hub does."""
        name = self.path.lstrip("/")
        self.home.asked.append((f"HEAD {name}", dict(self.headers)))
        data = self.home.files.get(name)
        self.send_response(404 if data is None else 200)
        self.send_header("Content-Length", str(len(data or b"")))
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", self.home.tags.get(name, '"none"'))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def opened() -> Iterator[Home]:
    """Run a server as long as the body runs."""
    home = Home()
    with running(Answer, home=home) as address:
        home.address = address
        yield home


def serve(
    cut_after: int | None = None, *, ranges: bool = True, pace: float = 0.0, kind: str = "text/plain",
    other: bytes | None = None, length: bool = True,
) -> Act:
    """Serve the file; close the line after `cut_after` bytes, or send `pace` seconds between pieces."""

    def act(answer: Answer) -> None:
        name = answer.path.lstrip("/")
        data = answer.home.files[name] if other is None else other
        tag = answer.home.tags.get(name, "")
        start = _start(answer, len(data), tag) if ranges else 0
        if start >= len(data) > 0 and start:
            answer.send_response(416)
            answer.send_header("Content-Range", f"bytes */{len(data)}")
            answer.send_header("Content-Length", "0")
            answer.end_headers()
            return
        answer.send_response(206 if start else 200)
        if start:
            answer.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if length:
            answer.send_header("Content-Length", str(len(data) - start))
        answer.close_connection = not length
        answer.send_header("Content-Type", kind)
        if tag:
            answer.send_header("ETag", tag)
        answer.end_headers()
        _send(answer, data[start:] if cut_after is None else data[start:][:cut_after], pace)
        if cut_after is not None:
            answer.close_connection = True

    return act


def status(code: int, **headers: str) -> Act:
    """Answer with a code and an empty body."""

    def act(answer: Answer) -> None:
        answer.send_response(code)
        for name, value in headers.items():
            answer.send_header(name.replace("_", "-"), value)
        answer.send_header("Content-Length", "0")
        answer.end_headers()

    return act


def _start(answer: Answer, length: int, tag: str) -> int:
    match = re.fullmatch(r"bytes=(\d+)-", answer.headers.get("Range", ""))
    wanted = answer.headers.get("If-Range", tag)
    return min(int(match[1]), length) if match and wanted == tag else 0


def _send(answer: Answer, data: bytes, pace: float) -> None:
    step = 1 << 16 if pace else max(len(data), 1)
    try:
        for begin in range(0, len(data), step):
            answer.wfile.write(data[begin:begin + step])
            answer.wfile.flush()
            time.sleep(pace)
    except OSError:
        answer.close_connection = True
