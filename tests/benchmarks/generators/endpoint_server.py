"""A real web server on this machine that speaks OpenAI's images API, as well or as badly as it is told."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from PIL import Image

from tests.benchmarks.local_server import running


@dataclass
class Served:
    """What the server saw, and how it answers."""

    address: str = ""
    bodies: list[dict] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    answers: list[tuple[int, dict, object]] = field(default_factory=list)
    """Code, headers and JSON (or bytes) of the next answers; then images."""
    refused: tuple[str, ...] = ()
    """Prompts with one of these words break the rules."""
    by_address: bool = False
    busy_files: int = 0
    """How many times the address of an image is busy first."""
    cut_files: int = 0
    """How many times the line is cut in the middle of an image."""
    drip: float = 0.0
    """Seconds between the single bytes of an answer."""
    busy: int = 0
    most: int = 0
    delay: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Handler(BaseHTTPRequestHandler):
    """Serves `Served`."""

    served: Served
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.served.keys.append(self.headers.get("Authorization"))
        if self.served.busy_files:
            self.served.busy_files -= 1
            self._send(503, {}, b"busy")
            return
        if self.served.cut_files:
            self.served.cut_files -= 1
            self._send(200, {}, image(self.path), cut=True)
            return
        self._send(200, {}, image(self.path))

    def do_POST(self) -> None:
        served = self.served
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with served.lock:
            served.bodies.append(body)
            served.keys.append(self.headers.get("Authorization"))
            served.moments.append(time.monotonic())
            served.busy += 1
            served.most = max(served.most, served.busy)
            answer = served.answers.pop(0) if served.answers else None
        time.sleep(served.delay)
        with served.lock:
            served.busy -= 1
        self._send(*(answer or self._sampled(body)))

    def _sampled(self, body: dict) -> tuple[int, dict, object]:
        if any(word in body["prompt"] for word in self.served.refused):
            return 400, {}, error("Your request was rejected.", "content_policy_violation")
        entry: dict[str, str] = {"revised_prompt": f"An image of {body['prompt']}"}
        if self.served.by_address:
            entry["url"] = f"{self.served.address}/files/{len(body['prompt'])}"
        else:
            entry["b64_json"] = base64.b64encode(image(body["prompt"])).decode()
        return 200, {}, {"created": 0, "data": [entry]}

    def _send(self, code: int, headers: dict, content: object, *, cut: bool = False) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if cut:
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            return
        if not self.served.drip:
            self.wfile.write(data)
            return
        with suppress(OSError):  # the other side has had enough
            for byte in data:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(self.served.drip)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def opened() -> Iterator[Served]:
    """Run a server as long as the body runs."""
    served = Served()
    with running(Handler, served=served) as address:
        served.address = f"{address}/v1"
        yield served


def image(text: str) -> bytes:
    """Return a PNG whose colour tells the text."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour(text)).save(buffer, "PNG")
    return buffer.getvalue()


def colour(text: str) -> tuple[int, int, int]:
    return len(text) % 256, sum(text.encode()) % 256, 7


def error(message: str, code: str | None = None, **more: object) -> dict:
    return {"error": {"message": message, "code": code, "type": "invalid_request_error", **more}}
