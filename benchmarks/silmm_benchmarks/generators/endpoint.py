"""Requests to an images endpoint: address, key, meaning of the answers and repeated attempts."""

from __future__ import annotations

import ipaddress
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from silmm.contracts.generators import GenerationFailure
from silmm.errors import UsageError
from silmm.printable import printable
from silmm_benchmarks.data.web_requests import AGAIN, pause, retry_after
from silmm_benchmarks.generators.web import CUT, opener

KEY_VARIABLE = "OPENAI_API_KEY"
ADDRESS_VARIABLE = "OPENAI_BASE_URL"
OFFICIAL = "https://api.openai.com/v1"
MAX_BYTES = 128 * 1024 * 1024
"""Largest answer that is read; an image in base64 has a few megabytes."""
REFUSALS = frozenset({
    "content_policy_violation", "moderation_blocked", "content_filter", "contentFilter",
    "ResponsibleAIPolicyViolation",
})
"""Codes and types of errors with which an endpoint refuses a prompt."""
NO_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})


@dataclass
class Pace:
    """Limits the number of requests per minute over all threads."""

    per_minute: float | None
    _next: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self) -> None:
        """Wait until the next request may start."""
        if self.per_minute is None:
            return
        with self._lock:
            start = max(time.monotonic(), self._next)
            self._next = start + 60.0 / self.per_minute
        time.sleep(max(0.0, start - time.monotonic()))


@dataclass
class Endpoint:
    """A server with OpenAI's images API. The key appears in no message, record or representation."""

    address: str
    key: str = field(repr=False)
    attempts: int
    timeout: float
    pace: Pace
    first_pause: float = 1.0

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any] | GenerationFailure:
        """Send JSON and return the JSON answer, or the reason why this request has none.

        Raises:
            UsageError: no request can succeed: the key, the model, an option, the account's limit.
        """
        why, data = "", json.dumps(body).encode()
        for attempt in range(1, self.attempts + 1):
            self.pace.wait()
            wait = None
            try:
                return self._once(path, data)
            except urllib.error.HTTPError as error:
                with error:
                    error_body = _error(error, self.timeout)
                    failure = self._judged(error.code, error_body)
                if failure is not None:
                    return failure
                why, wait = f"HTTP {error.code} {error.reason}", retry_after(error.headers.get("Retry-After"))
            except (*CUT, _Broken) as error:
                why = str(getattr(error, "reason", "") or error) or type(error).__name__
            if attempt < self.attempts:
                time.sleep(pause(attempt, self.first_pause) if wait is None else wait)
        what = self._clean(f"no answer after {self.attempts} tries: {why}")
        return GenerationFailure("failed", what, final=False)

    def fetch(self, url: str) -> bytes | GenerationFailure:
        """Fetch an image whose address an answer holds; the key is not sent to that address.

        The image has been sampled, and perhaps paid for, so that busy and silent servers are asked again.
        """
        why = "it is not a web address"
        for attempt in range(1, self.attempts + 1) if urlsplit(url).scheme in ("http", "https") else ():
            if attempt > 1:
                time.sleep(pause(attempt - 1, self.first_pause))
            try:
                with opener().open(url, timeout=self.timeout) as response:
                    return _read(response, self.timeout)
            except urllib.error.HTTPError as error:
                error.close()
                why = str(error)
                if error.code not in AGAIN:
                    break
            except (*CUT, _Broken) as error:
                why = str(error)
            except ValueError as error:
                why = str(error)
                break
        why = self._clean(f"the image could not be fetched from its address: {why}")
        return GenerationFailure("failed", why, final=False)

    def _once(self, path: str, data: bytes) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(f"{self.address}/{path}", data, headers, method="POST")  # noqa: S310
        with opener(redirects=False).open(request, timeout=self.timeout) as response:
            content = _read(response, self.timeout)
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise _Broken("the answer is not JSON") from error
        if not isinstance(answer, dict):
            raise _Broken("the answer is not a JSON object")
        return answer

    def _judged(self, code: int, error_body: Mapping[str, Any]) -> GenerationFailure | None:
        """Return the failure that an error stands for; None means that another attempt may succeed."""
        words = {str(error_body.get(key)) for key in ("code", "type", "inner")}
        message = self._clean(str(error_body.get("message") or "no reason given"))
        if words & NO_MONEY:
            raise UsageError(f"{self.address} says that the account has no credit left: {message}.")
        if code in (401, 403) and not words & REFUSALS:
            raise UsageError(
                f"{self.address} does not accept the key in ${KEY_VARIABLE} (HTTP {code}). Set a valid key."
            )
        if words & REFUSALS:
            return GenerationFailure("refused", message)
        if code in AGAIN:
            return None
        if code in (400, 422) and error_body.get("param") == "prompt":
            return GenerationFailure("unreadable", message)
        raise UsageError(f"{self.address} refuses the request (HTTP {code}): {message}")

    def _clean(self, text: str) -> str:
        """Remove the key and control characters from a server's message."""
        return printable((text.replace(self.key, "[key]") if self.key else text)[:500])


class _Broken(Exception):
    """An answer that breaks the API's contract."""


def open_endpoint(
    base_url: str, environ: Mapping[str, str], *, attempts: int, timeout: float, per_minute: float | None
) -> Endpoint:
    """Return the endpoint of `base_url`, else of $OPENAI_BASE_URL, else OpenAI's own.

    Raises:
        UsageError: the address or the key cannot be used.
    """
    address = (base_url or environ.get(ADDRESS_VARIABLE, "") or OFFICIAL).rstrip("/")
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{address!r} is not the address of an endpoint; write for example {OFFICIAL}.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            f"the address of the endpoint at {parts.hostname} must not contain a user, password or query, because "
            f"it is written into results. The key belongs in ${KEY_VARIABLE}."
        )
    key = environ.get(KEY_VARIABLE, "").strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(f"${KEY_VARIABLE} contains characters that a key cannot have.")
    if not key and address == OFFICIAL:
        raise UsageError(f"${KEY_VARIABLE} is not set; {address} needs a key.")
    if key and parts.scheme == "http" and not _local(parts.hostname):
        raise UsageError(
            f"the key in ${KEY_VARIABLE} would be sent unencrypted to {parts.hostname}; use https or unset it."
        )
    return Endpoint(address, key, attempts, timeout, Pace(per_minute))


def _local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read(response: Any, seconds: float) -> bytes:
    """Return an answer of at most :data:`MAX_BYTES` that arrives within `seconds`.

    The timeout of a connection only limits its silence; a server could send one byte per minute for ever.
    """
    end, parts, size = time.monotonic() + seconds, [], 0
    while block := response.read1(1 << 16):
        parts.append(block)
        size += len(block)
        if size > MAX_BYTES:
            raise _Broken(f"the answer has more than {MAX_BYTES} bytes")
        if time.monotonic() > end:
            raise _Broken(f"the answer takes longer than {seconds:g} seconds")
    stated = response.headers.get("Content-Length") or ""
    if stated.isdecimal() and size < int(stated):  # read1 does not report a connection that was cut
        raise _Broken(f"the answer is cut off after {size} of {stated} bytes")
    return b"".join(parts)


def _error(error: urllib.error.HTTPError, seconds: float) -> dict[str, Any]:
    """Return the error that a response's body describes in OpenAI's form; empty if it has another form."""
    try:
        error_body = json.loads(_read(error, seconds)).get("error")
    except (ValueError, RecursionError, AttributeError, _Broken, *CUT):
        return {}
    if not isinstance(error_body, dict):
        return {"message": error_body} if isinstance(error_body, str) else {}
    inner = error_body.get("innererror") or error_body.get("inner_error")
    return error_body | {"inner": inner.get("code") if isinstance(inner, dict) else None}
