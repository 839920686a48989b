"""Scores images by benchmarks: the runner, judges, stored answers, protocol cards, results.

``silmm.bench`` is this package and, when called, :func:`silmm.bench.score_benchmarks.bench`: Python binds a package
to the name in its parent as soon as anything in it is imported, so that the function of the public face cannot
replace it there.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        from silmm.bench.score_benchmarks import bench

        return bench(*args, **options)


sys.modules[__name__].__class__ = _CallablePackage
