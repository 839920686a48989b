"""The contract of official data and weights of judges: their files, and what `silmm data` does with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

State = Literal["ok", "downloaded", "recorded", "unrecorded", "missing", "changed", "invalid"]
"""ok: present with the expected hash. downloaded: fetched just now. recorded: present, and its hash, which is not
published, was recorded just now. unrecorded: present, and its hash is not recorded yet. changed: present with another
hash. invalid: the benchmark's loader refuses it."""

Watch: TypeAlias = Callable[[str, int, "int | None"], None]
"""Called with a file's name, the number of its bytes so far, and its size in bytes if that is known."""


@dataclass(frozen=True)
class FileReport:
    """The state of one file, or (name "") of all files together."""

    name: str
    state: State
    detail: str = ""
    """One sentence; where something is wrong, with the remedy."""


class OfficialFile(Protocol):
    """One file with its public address."""

    @property
    def name(self) -> str:
        """Path inside the data set's folder."""
        ...

    @property
    def url(self) -> str:
        """Public address, at a pinned revision where there are revisions."""
        ...

    @property
    def size(self) -> int | None:
        """Bytes, if known."""
        ...

    @property
    def licence(self) -> str:
        """The licence, with the use that it allows."""
        ...


class DataSet(Protocol):
    """The files of one benchmark or judge: what a factory of `silmm_register_data` returns."""

    @property
    def files(self) -> Sequence[OfficialFile]:
        """All files, in the order in which they are fetched."""
        ...

    def pull(self, folder: Path, watch: Watch) -> list[FileReport]:
        """Download the files that are missing in `folder`, complete and verified.

        Raises:
            DataError: a server does not answer, or sends other bytes than expected.
            OutOfSpace: the disk is full; partial files stay, and the next call resumes them.
        """
        ...

    def check(self, folder: Path) -> list[FileReport]:
        """Compare the files with their hashes and their content with the specification; change nothing."""
        ...
