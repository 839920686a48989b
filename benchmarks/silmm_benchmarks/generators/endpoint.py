"""One request to an images endpoint: its address, its key, what its answers mean, when it is asked again."""

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
"""Of one answer; an image in base64 is a few megabytes."""
REFUSALS = frozenset({
    "content_policy_violation", "moderation_blocked", "content_filter", "contentFilter",
    "ResponsibleAIPolicyViolation",
})
"""Codes and types of errors that mean: this prompt may not be sampled."""
NO_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})


@dataclass
class Pace:
    """Lets requests start no faster than so many a minute, over all threads."""

    per_minute: float | None
    _next: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self) -> None:
        """Return when the next request may start."""
        if self.per_minute is None:
            return
        with self._lock:
            start = max(time.monotonic(), self._next)
            self._next = start + 60.0 / self.per_minute
        time.sleep(max(0.0, start - time.monotonic()))


@dataclass
class Endpoint:
    """A server that speaks OpenAI's images API. The key is in no message, record or representation."""

    address: str
    key: str = field(repr=False)
    attempts: int
    timeout: float
    pace: Pace
    first_pause: float = 1.0

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any] | GenerationFailure:
        """Send JSON and return the JSON answer, or why this one request has none.

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
                    told = _error(error, self.timeout)
                    failure = self._judged(error.code, told)
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
        """Fetch an image that the answer gives by address; the key does not go there.

        It is sampled, and maybe paid for, so a server that is busy or silent is asked again.
        """
        why = "it is no address on the web"
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
            raise _Broken("the answer is no JSON") from error
        if not isinstance(answer, dict):
            raise _Broken("the answer is no JSON object")
        return answer

    def _judged(self, code: int, told: Mapping[str, Any]) -> GenerationFailure | None:
        """Return what an error means: None asks for another try."""
        words = {str(told.get(key)) for key in ("code", "type", "inner")}
        message = self._clean(str(told.get("message") or "no reason given"))
        if words & NO_MONEY:
            raise UsageError(f"{self.address} says that the account has nothing left: {message}.")
        if code in (401, 403) and not words & REFUSALS:
            raise UsageError(
                f"{self.address} does not accept the key in ${KEY_VARIABLE} (HTTP {code}). Set the right one."
            )
        if words & REFUSALS:
            return GenerationFailure("refused", message)
        if code in AGAIN:
            return None
        if code in (400, 422) and told.get("param") == "prompt":
            return GenerationFailure("unreadable", message)
        raise UsageError(f"{self.address} refuses the request (HTTP {code}): {message}")

    def _clean(self, text: str) -> str:
        """Take the key out of what a server says, and what would move the cursor of a terminal."""
        return printable((text.replace(self.key, "[key]") if self.key else text)[:500])


class _Broken(Exception):
    """An answer that is not what the API promises."""


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
        raise UsageError(f"{address!r} is no address of an endpoint; write for example {OFFICIAL}.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            f"the address of the endpoint at {parts.hostname} may hold no user, password or query: it is "
            f"written into results. The key goes into ${KEY_VARIABLE}."
        )
    key = environ.get(KEY_VARIABLE, "").strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(f"${KEY_VARIABLE} holds characters that no key has.")
    if not key and address == OFFICIAL:
        raise UsageError(f"${KEY_VARIABLE} is not set; {address} needs a key.")
    if key and parts.scheme == "http" and not _local(parts.hostname):
        raise UsageError(
            f"the key in ${KEY_VARIABLE} would travel unprotected to {parts.hostname}; use https or unset it"
        )
    return Endpoint(address, key, attempts, timeout, Pace(per_minute))


def _local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read(response: Any, seconds: float) -> bytes:
    """Return an answer that ends: in time, and below :data:`MAX_BYTES`.

    The timeout of a connection is that of its silence alone; a server may send a byte a minute for ever.
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
    if stated.isdecimal() and size < int(stated):  # reading in parts does not tell of a cut line
        raise _Broken(f"the answer is cut off after {size} of {stated} bytes")
    return b"".join(parts)


def _error(error: urllib.error.HTTPError, seconds: float) -> dict[str, Any]:
    """Return what an error's body tells, in OpenAI's form; empty where it is another."""
    try:
        told = json.loads(_read(error, seconds)).get("error")
    except (ValueError, RecursionError, AttributeError, _Broken, *CUT):
        return {}
    if not isinstance(told, dict):
        return {"message": told} if isinstance(told, str) else {}
    inner = told.get("innererror") or told.get("inner_error")
    return told | {"inner": inner.get("code") if isinstance(inner, dict) else None}
