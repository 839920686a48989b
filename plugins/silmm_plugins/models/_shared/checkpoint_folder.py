"""The folder of a checkpoint: one that is here, or the local copy of a repository on the hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from silmm.errors import DataError
from silmm.storage.fingerprint import is_hub_id


def checkpoint_folder(
    place: str, files: Sequence[str], *, option: str = "path", revision: str | None = None
) -> Path:
    """Return a folder as it is, or that of a repository, fetched into the hub's own cache; absolute.

    Args:
        place: a folder, or the hub id of a repository, OWNER/NAME.
        files: patterns of the files that are fetched.
        option: of the model, for messages.
        revision: of the repository: a branch, a tag or a commit; None is its main branch.

    Raises:
        DataError: neither a folder nor an id that can be fetched, or a revision of a folder.
    """
    folder = Path(place).expanduser()
    if folder.is_dir():
        if revision:
            raise DataError(f"{folder} is a folder here, which has no revisions; leave model.revision out")
        return folder.absolute()
    if not is_hub_id(place):
        raise DataError(
            f"there is no folder {place!r}, and it is no hub id (OWNER/NAME); check --set model.{option}"
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(place, revision=revision, allow_patterns=list(files)))
    except Exception as error:  # an unknown id or revision, no network, no access: many kinds, one remedy
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        named = f" at {revision!r}" if revision else ""
        raise DataError(
            f"{place!r} is no folder here, and the hub does not give it as a repository{named} ({reason}); "
            f"check model.{option} and the network, or give a folder"
        ) from error
