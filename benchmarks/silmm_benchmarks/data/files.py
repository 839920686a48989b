"""One official file: its name here, its public home at a pinned revision, its hash and its licence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class DataFile:
    """One file of a benchmark's or a judge's data folder.

    Raises:
        ValueError: the name would lead out of the data folder.
    """

    name: str
    """Path inside the data folder, with forward slashes."""
    url: str
    """Public home, at a pinned revision where the home has revisions."""
    sha256: str | None
    """64 hexadecimal digits; None: recorded at the first use and compared afterwards."""
    size: int | None
    """Bytes; None where the home has not published it."""
    licence: str
    """SPDX name or one sentence; says when commercial use is excluded."""

    def __post_init__(self) -> None:
        """Refuse a name that is not a plain relative path."""
        parts = PurePosixPath(self.name).parts
        plain = all(part not in ("..", ".") and not part.startswith(".tmp-") for part in parts)
        if not parts or PurePosixPath(self.name).is_absolute() or not plain or "\\" in self.name or (
            "\0" in self.name or ":" in parts[0]
        ):
            raise ValueError(f"{self.name!r} is not a plain relative path inside a data folder.")
