"""The folder of a checkpoint, which is here or a copy of a repository on the hub, and the JSON in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from silmm.errors import DataError, UsageError
from silmm.storage.fingerprint import is_hub_id


def checkpoint_folder(
    path: str,
    patterns: Sequence[str],
    *,
    owner: str = "",
    expected: str = "",
    option: str = "path",
    revision: str | None = None,
) -> Path:
    """Return a local folder as it is, or that of a repository, fetched into the hub's own cache; absolute.

    Args:
        path: a folder, or the hub id of a repository, OWNER/NAME.
        patterns: of the files that are fetched.
        owner: the model that needs the folder, for the message where `path` is empty.
        expected: what the folder holds, for that message.
        option: the model's option that `path` comes from, for messages.
        revision: of the repository: a branch, a tag or a commit; None is its main branch.

    Raises:
        UsageError: `path` is empty.
        DataError: neither a folder nor an id that can be fetched, or a revision of a local folder.
    """
    if not path:
        raise UsageError(
            f"{owner} needs a checkpoint: --model {owner}:DIR (the same as --set model.{option}=DIR), where DIR is "
            f"{expected}, or a hub id in place of the folder"
        )
    folder = Path(path).expanduser()
    if folder.is_dir():
        if revision:
            raise DataError(f"{folder} is a local folder, which has no revisions; leave model.revision out")
        return folder.absolute()
    if not is_hub_id(path):
        raise DataError(f"there is no folder {path!r}, and it is no hub id (OWNER/NAME); check --set model.{option}")
    try:
        return hub_snapshot(path, patterns, revision)
    except DataError as error:
        raise DataError(f"there is no folder {path!r}, and {error}; check model.{option}, or give a folder") from error


def hub_snapshot(repository: str, patterns: Sequence[str], revision: str | None = None) -> Path:
    """Return the local copy of a repository's files, fetched into the hub's own cache if need be.

    Args:
        repository: the hub id, OWNER/NAME.
        patterns: of the files that are fetched.
        revision: a branch, a tag or a commit; None is the main branch.

    Raises:
        DataError: the repository cannot be fetched; the message holds the hub's reason.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(patterns)))
    except Exception as error:  # an unknown id or revision, no network, no access: many kinds, one remedy
        stated = f" at {revision!r}" if revision else ""
        raise DataError(
            f"the hub does not give the repository {repository!r}{stated} ({first_line(error)}); check the id and "
            "the network"
        ) from error


def read_json(path: Path, expected: str = "a file of the checkpoint", *, required: bool = True) -> dict[str, Any]:
    """Return the object in a JSON file.

    Args:
        path: the file.
        expected: what the file should be, for messages.
        required: without it a file that is not there is an empty object.

    Raises:
        DataError: the file is missing, unreadable or holds no JSON object.
    """
    if not required and not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); expected {expected}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON ({error}); expected {expected}; copy it again") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} holds no JSON object; expected {expected}; copy it again")
    return value


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its kind where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
