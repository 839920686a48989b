"""Files of the Hugging Face Hub through its own library: mirror, token, published hash, local cache."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

_HUB = re.compile(r"https://huggingface\.co/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class HubFile:
    """Where a file is fetched from, and what its server publishes about it."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """With the user's token, where one is stored; httpx sends it to no other host."""
    sha256: str | None = None
    """Of large files alone."""
    size: int | None = None
    cached: Path | None = None
    """The file in the library's own cache."""


def hub_file(url: str) -> HubFile:
    """Return what the hub knows about a file, or the address alone where it is elsewhere or does not answer."""
    match = _HUB.fullmatch(url)
    if match is None:
        return HubFile(url)
    from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url, try_to_load_from_cache

    name, revision, token = unquote(match["name"]), unquote(match["revision"]), get_token()
    address = hf_hub_url(match["repo"], name, revision=revision)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    cached = try_to_load_from_cache(match["repo"], name, revision=revision)
    path = Path(cached) if isinstance(cached, str) else None
    try:
        metadata = get_hf_file_metadata(address)
    except Exception:  # offline, gated or moved: the request for the file itself gives the reason
        return HubFile(address, headers, cached=path)
    etag = metadata.etag or ""
    return HubFile(address, headers, etag if _SHA256.fullmatch(etag) else None, metadata.size, path)
