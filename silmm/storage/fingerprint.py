"""What input files and checkpoints hold, as it stands in a run's identity: content, not place."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from silmm.contracts.options import CheckpointMark
from silmm.errors import DataError
from silmm.storage.sha256_cache import Announce, file_digests

PATH = "path"
"""The option beside whose folder an empty one may find its own."""
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SECONDS = 10.0
"""How long the hub may take to tell a commit."""


def is_hub_id(text: str) -> bool:
    """Say whether a text has the form of a repository's id on the hub, OWNER/NAME."""
    return _HUB_ID.fullmatch(text) is not None


def file_content(path: str, flag: str) -> str:
    """Return the content id of an input file.

    Raises:
        DataError: it cannot be read; the message names `flag`.
    """
    try:
        return "sha256:" + hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(
            f"cannot read the input file {path!r}: {error.strerror}; check {flag}"
        ) from None


def checkpoint_content(
    options: Mapping[str, Any], option: str, mark: CheckpointMark, kind: str, announce: Announce
) -> dict[str, Any]:
    """Return what replaces an option that names a checkpoint, and the option of its revision, in an identity.

    A folder stands as its files with their SHA-256, a file by its SHA-256, a repository of the hub by its id
    and commit.

    Args:
        options: all options of the component.
        option: the one that names a folder, a file or a repository.
        mark: what its class says of it.
        kind: of the component, for messages.
        announce: told what takes long.

    Raises:
        DataError: there is nothing of that name, it cannot be read, or it is here and has a revision; the
            message names option and path.
    """
    value, flag = options[option], f"--set {kind}.{option}"
    if not value:
        neighbours = _beside(options.get(PATH), mark)
        return {option: _digests(neighbours, flag, announce) if neighbours else value}
    if value in mark.words:
        return {option: value}
    path = Path(value).expanduser()
    revision = options.get(mark.revision)
    if revision and path.exists():
        raise DataError(
            f"{str(path)!r} is here, so that it has no revisions; leave --set {kind}.{mark.revision} out"
        )
    if path.is_dir():
        files = _files(path, flag)
        if not files:
            raise DataError(f"the folder {str(path)!r} holds no files; check {flag}")
        name = {".": path.absolute().name} if mark.named else {}
        return {option: name | _digests(files, flag, announce)}
    if path.is_file():
        (digest,) = _digests({path.name: path}, flag, announce).values()
        return {option: f"sha256:{digest}"}
    if not is_hub_id(value):
        raise DataError(f"there is no folder {value!r}; check {flag}")
    # The commit says all: a branch, or the same commit by its own name, is the same model.
    default_revision = {mark.revision: None} if mark.revision else {}
    return {option: f"hub:{value}@{_commit(value, revision, flag)}", **default_revision}


def _digests(files: Mapping[str, Path], flag: str, announce: Announce) -> dict[str, str]:
    try:
        return dict(zip(files, file_digests(list(files.values()), announce), strict=True))
    except DataError as error:
        raise DataError(f"what {flag} names cannot be read: {error}") from error


def _files(folder: Path, flag: str) -> dict[str, Path]:
    """Return the files under a folder by their relative names, in order; hidden ones do not count."""
    return dict(sorted((path.relative_to(folder).as_posix(), path) for path in _walk(folder, flag)))


def _walk(folder: Path, flag: str) -> Iterator[Path]:
    """Yield files, through links too: a snapshot in the hub's cache is made of them."""

    def refuse(error: OSError) -> None:
        raise DataError(f"cannot read the folder {error.filename!r}: {error.strerror}; check {flag}")

    visited: set[str] = set()
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(parent)
        if real in visited:  # a link in a circle
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def _beside(path: object, mark: CheckpointMark) -> dict[str, Path]:
    """Return the files that a component finds by itself beside its folder `path`, as ``../NAME``."""
    folder = Path(str(path or "")).expanduser()
    if not path or not folder.is_dir():
        return {}
    home = folder.absolute().parent
    paths = sorted({position for pattern in mark.beside for position in home.glob(pattern)})
    files_by_name: dict[str, Path] = {}
    for neighbour in paths:
        files = _files(neighbour, f"what lies beside {folder}") if neighbour.is_dir() else {"": neighbour}
        for name, file in files.items():
            files_by_name[Path("..", neighbour.relative_to(home), name).as_posix()] = file
    return files_by_name


def _commit(repository: str, revision: str | None, flag: str) -> str:
    """Return the commit of a repository: from the hub's own cache, else from the hub."""
    if revision and _COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub import HfApi, snapshot_download  # imported late: few runs need it

    with suppress(Exception):  # not in the cache, for whatever reason: the hub is asked
        return Path(snapshot_download(repository, revision=revision, local_files_only=True)).name
    try:
        commit = HfApi().model_info(repository, revision=revision, timeout=_SECONDS).sha
    except Exception as error:  # an unknown id, no network, no access: many kinds, one remedy
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{repository!r} is no folder here, not in the hub's cache, and the hub does not tell its commit "
            f"({reason}). Check {flag} and the network, or give a folder"
        ) from error
    if not commit:
        raise DataError(f"the hub tells no commit of {repository!r}; give a folder by {flag}")
    return commit
