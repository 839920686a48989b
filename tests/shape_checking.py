"""Checks at run time, in every test, the shapes and types that signatures state (jaxtyping, beartype)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any, TypeVar

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

CHECKED = (
    "silmm.registry.kernels",
    "silmm_plugins.kernels.kernels",
    "silmm_plugins.training.dpo",
    "silmm_plugins.training.ipo",
    "silmm_plugins.training.losses",
    "silmm_plugins.training.objectives.pair_batch",
    "silmm_plugins.training.simpo",
)
"""Modules whose functions are checked; add others here."""

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def checked(function: FunctionT) -> FunctionT:
    """Check a function's arguments and result; an int will do where a float is asked for."""
    decorated: FunctionT = beartype(conf=BeartypeConf(is_pep484_tower=True))(function)
    return decorated


class _TypesAtRunTime(MetaPathFinder):
    """Finds modules by jaxtyping's hook, and lets them import what only type checkers need otherwise."""

    def __init__(self, hook: MetaPathFinder) -> None:
        self._hook = hook

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        spec = self._hook.find_spec(fullname, path, target)
        loader: Any = spec.loader if spec else None
        if loader is not None:
            read = loader.get_data
            loader.get_data = lambda file: read(file).replace(b"if TYPE_CHECKING:", b"if True:")
        return spec


def install() -> None:
    """Have the modules of :data:`CHECKED` checked from their first import on.

    Raises:
        RuntimeError: one is imported already.
    """
    early = [name for name in CHECKED if name in sys.modules]
    if early:
        raise RuntimeError(f"{early[0]} is imported before its shapes can be checked")
    hook = install_import_hook(CHECKED, "tests.shape_checking.checked").hook
    sys.meta_path[sys.meta_path.index(hook)] = _TypesAtRunTime(hook)
