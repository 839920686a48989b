"""Lets torchvision be imported where its compiled operators do not fit torch's build.

A package index without CPU builds gives torchvision's CUDA wheel beside a CPU torch. Its operators cannot be
loaded then, and its import stops at `operator torchvision::nms does not exist`, and with it every model of
transformers and peft. Declaring the two operators that it registers shapes for is enough: the rest of
torchvision is Python, and nothing here calls a compiled operator of it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

NAME = "torchvision"
SCHEMAS = tuple(f"{op}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for op in ("nms", "qnms"))


def install() -> None:
    """Watch for the first import of torchvision; costs nothing where it is not imported."""
    if NAME not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds torchvision where it is, and has its import prepared."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return torchvision's own spec with a loader that prepares first; None for all other modules."""
        if fullname != NAME:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None and spec.origin is not None:
            spec.loader = _Loader(spec.loader, Path(spec.origin).parent)  # type: ignore[assignment]
        return spec


class _Loader:
    """Torchvision's own loader; declares missing operators just before the module runs."""

    def __init__(self, loader: Any, folder: Path) -> None:
        self._loader, self._folder = loader, folder

    def __getattr__(self, name: str) -> Any:
        """Leave all but the run of the module to the loader that Python found."""
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        """Declare the operators if they cannot be loaded, then run the module."""
        declare_missing(self._folder)
        self._loader.exec_module(module)


_LIBRARIES: list[Any] = []  # operators live as long as the library object that declared them


def declare_missing(folder: Path) -> bool:
    """Declare the operators unless torchvision's library in `folder` can be loaded; True if it could not."""
    import torch

    operators: Any = torch.ops  # both untyped
    declared: Any = torch.library
    for library in sorted(folder.glob("_C*.so")) + sorted(folder.glob("_C*.pyd")):
        try:
            operators.load_library(library)
        except OSError:
            continue
        return False
    fragment = declared.Library(NAME, "FRAGMENT")
    for schema in SCHEMAS:
        fragment.define(schema)
    _LIBRARIES.append(fragment)
    return True
