"""The plugin, the Python and the packages that a probe ran with."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

from silmm.registry.registration import Entry

_PACKAGES = ("silmm", "torch", "transformers", "diffusers", "peft")


def environment(entry: Entry) -> dict[str, Any]:
    """Return JSON-able facts of them."""
    return {
        "plugin": f"{entry.distribution} {entry.version}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
