"""One official file as a catalogue describes it, and the limits of its download."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_NAME = re.compile(r"[^/\\:\0]+(/[^/\\:\0]+)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class DataFile:
    """One file of a benchmark's or a judge's data folder: its address at a pinned revision, its hash, its licence.

    Raises:
        ValueError: the name could lead out of the data folder or hide in it, the address is not on the web, or the
            hash is not one.
    """

    name: str
    """Path inside the data folder, with forward slashes; no part of it starts with a dot."""
    url: str
    """Public address, at a pinned revision where there are revisions."""
    sha256: str | None
    """64 hexadecimal digits; None: recorded when the file first comes, and compared afterwards."""
    size: int | None
    """Bytes; None where no size is published."""
    licence: str
    """SPDX name or one sentence; it says when commercial use is excluded."""

    def __post_init__(self) -> None:
        """Refuse what is not a plain relative path, a web address, a hash."""
        if not _NAME.fullmatch(self.name) or any(part.startswith(".") for part in self.name.split("/")):
            raise ValueError(f"{self.name!r} is not a plain relative path inside a data folder")
        if urlsplit(self.url).scheme not in ("http", "https"):
            raise ValueError(f"{self.name}: {self.url!r} is not a web address")
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"{self.name}: {self.sha256!r} is not a SHA-256 in lower-case digits")


@dataclass(frozen=True)
class Limits:
    """What a download may take."""

    tries: int = 5
    """Tries in a row without a new byte."""
    first_pause: float = 1.0
    """Seconds before the second try; doubled each time."""
    patience: float = 600.0
    """Seconds in which at least `progress` bytes must arrive, pauses between tries included."""
    progress: int = 1 << 16
    """Bytes; about 100 per second over `patience`: slower lines and servers that trickle are given up."""
    largest: int = 64 << 30
    """Bytes of a file whose size is not known."""
