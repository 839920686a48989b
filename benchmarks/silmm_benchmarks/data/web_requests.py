"""Requests over http and https: the client with its redirects, and when a failed request is tried again."""

from __future__ import annotations

import email.utils
import time

import httpx

import silmm
from silmm.errors import DataError

AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""Status codes that another try may change."""
LONGEST_PAUSE = 120.0
"""Seconds; a server that asks for a longer pause is not waited for that long."""
SILENCE = 60.0
"""Seconds without a byte after which a connection counts as cut."""


def web_client() -> httpx.Client:
    """Return a client for http and https through the environment's proxies; it never follows away from https."""
    return httpx.Client(
        follow_redirects=True, timeout=httpx.Timeout(SILENCE), event_hooks={"response": [_check_redirect]},
        headers={"User-Agent": f"silmm/{silmm.__version__}", "Accept-Encoding": "identity"},
    )


def _check_redirect(response: httpx.Response) -> None:
    if response.has_redirect_location:
        target = response.url.join(response.headers["Location"])
        if target.scheme != "https" and not response.url.scheme == target.scheme == "http":
            raise DataError(f"{response.url} redirects to {target}, away from https; nothing was fetched from there.")


def pause(attempt: int, first: float) -> float:
    """Return the seconds after try `attempt` (from 1): `first`, doubled each time, at most `LONGEST_PAUSE`."""
    return min(first * 2.0 ** min(attempt - 1, 30), LONGEST_PAUSE)


def retry_after(header: str | None, now: float | None = None) -> float | None:
    """Return the seconds that a Retry-After header asks for, at most `LONGEST_PAUSE`; None without one.

    It may hold seconds or a date.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_PAUSE)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    seconds = moment.timestamp() - (time.time() if now is None else now)
    return min(max(seconds, 0.0), LONGEST_PAUSE)
