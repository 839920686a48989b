"""Official data of benchmarks and weights of judges: where they lie, and what `silmm data` does with them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from silmm.errors import UsageError

DATA_VARIABLE = "SILMM_DATA"

State = Literal["ok", "downloaded", "recorded", "unrecorded", "missing", "changed", "invalid"]
"""ok: here, with the expected hash. downloaded: fetched just now. recorded: here, and its hash, which nobody
has published, was written down just now. unrecorded: here, and not yet written down. changed: here with
another hash. invalid: the loader refuses it."""

Watch: TypeAlias = Callable[[str, int, "int | None"], None]
"""Called with a file's name, its bytes here so far, and its size in bytes if that is known."""


@dataclass(frozen=True)
class FileReport:
    """What was found out about one file, or (name "") about all of them together."""

    name: str
    state: State
    detail: str = ""
    """One sentence; where something is wrong, with the way out."""


class OfficialFile(Protocol):
    """One file with its public home."""

    @property
    def name(self) -> str:
        """Path inside the data set's folder."""
        ...

    @property
    def url(self) -> str:
        """Public home, at a pinned revision where it has revisions."""
        ...

    @property
    def size(self) -> int | None:
        """Bytes, if they are known."""
        ...

    @property
    def licence(self) -> str:
        """What use is allowed."""
        ...


class DataSet(Protocol):
    """The files of one benchmark or judge: what a factory of `silmm_register_data` returns."""

    @property
    def files(self) -> Sequence[OfficialFile]:
        """All files, in the order in which they are fetched."""
        ...

    def pull(self, folder: Path, watch: Watch) -> list[FileReport]:
        """Bring the files that are not in `folder` from their homes, whole and verified.

        Raises:
            DataError: a home does not answer, or gives other bytes than it should.
            OutOfSpace: the disk is full; what is here stays, and the next call goes on.
        """
        ...

    def check(self, folder: Path) -> list[FileReport]:
        """Compare the files with their hashes and their content with the specification; change nothing."""
        ...


def data_root(given: Path | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder that holds one folder for each data set.

    `given` (--data-dir) comes before $SILMM_DATA, and that before the platform's folder for user data.

    Raises:
        UsageError: the place exists and is not a folder.
    """
    named = environ.get(DATA_VARIABLE, "")
    root = given or (Path(named) if named else _user_data(environ) / "silmm")
    root = root.expanduser()
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is not a folder; name one with --data-dir or {DATA_VARIABLE}.")
    return root


def _user_data(environ: Mapping[str, str]) -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    named = environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_DATA_HOME", "")
    return Path(named) if named and Path(named).is_absolute() else Path.home() / ".local" / "share"
