"""When a request is tried again, and after how long."""

from __future__ import annotations

import email.utils
import http.client
import time
import urllib.error

AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""Answers that another try may change."""
LONGEST = 120.0
"""Seconds: a home that asks to wait longer is not waited for that long."""
CUT = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)
"""What a connection raises that was refused, cut or silent."""


def pause(attempt: int, first: float) -> float:
    """Return the seconds before try `attempt` (from 1): `first`, doubled each time, at most `LONGEST`."""
    return min(first * 2.0 ** min(attempt - 1, 30), LONGEST)


def retry_after(header: str | None, now: float | None = None) -> float | None:
    """Return the seconds that a Retry-After header asks for, at most `LONGEST`; None without one.

    Both of its forms count: seconds, and a date.
    """
    told = (header or "").strip()
    if told.isascii() and told.isdigit():
        return min(float(told), LONGEST)
    try:
        moment = email.utils.parsedate_to_datetime(told)
    except ValueError:
        return None
    seconds = moment.timestamp() - (time.time() if now is None else now)
    return min(max(seconds, 0.0), LONGEST)
