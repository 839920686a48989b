"""Requests of the images endpoint: http and https only, through the environment's proxies, never away from https."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from http.client import HTTPMessage
from typing import IO
from urllib.parse import urlsplit

import silmm

AGENT = f"silmm/{silmm.__version__}"
CUT = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)
"""What a connection raises that was refused, cut or silent."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to anything else."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Return the request of the new address."""
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise urllib.error.HTTPError(newurl, code, "it redirects away from https", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def opener(*, redirects: bool = True) -> urllib.request.OpenerDirector:
    """Return an opener that knows neither local files nor ftp; proxies come from the environment.

    Args:
        redirects: False makes a redirect an HTTPError: a key is never carried to another host.
    """
    director = urllib.request.OpenerDirector()
    director.addheaders = [("User-Agent", AGENT)]
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ]
    for handler in [*handlers, *([_Redirects()] if redirects else [])]:
        director.add_handler(handler)
    return director
