"""The user's folders: official data and weights, and what can be made again."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from silmm.errors import UsageError

DATA_VARIABLE = "SILMM_DATA"
CACHE_VARIABLE = "SILMM_CACHE"
_NAME = "silmm"


def data_root(folder: Path | None = None) -> Path:
    """Return the folder that holds one folder per data set.

    `folder` (--data-dir) comes before $SILMM_DATA, and that before the platform's folder for user data.

    Raises:
        UsageError: the path exists and is not a folder.
    """
    variable = os.environ.get(DATA_VARIABLE, "")
    root = (folder or (Path(variable) if variable else _default("data"))).expanduser()
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is not a folder; name one with --data-dir or {DATA_VARIABLE}.")
    return root


def cache_root() -> Path:
    """Return the folder for what can be made again: ``$SILMM_CACHE``, else the platform's cache folder."""
    variable = os.environ.get(CACHE_VARIABLE, "")
    return Path(variable).expanduser() if variable else _default("cache")


def _default(kind: str) -> Path:
    """Return the platform's folder, or the one at an earlier default where only that exists."""
    import platformdirs  # imported late: most commands need no folder

    folder = getattr(platformdirs, f"user_{kind}_path")(_NAME, appauthor=False)
    home, earlier = Path.home(), {"data": ".local/share", "cache": ".cache"}
    if sys.platform == "darwin":  # platformdirs follows the XDG variables there, which was not so at first
        earlier = {"data": "Library/Application Support", "cache": "Library/Caches"}
    elif sys.platform != "win32":
        return Path(folder)
    existing = home / earlier[kind] / _NAME
    return existing if existing.is_dir() and not folder.is_dir() else Path(folder)
