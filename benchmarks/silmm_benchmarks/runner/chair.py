"""The one judge that is in memory: opening another one lets go of it first."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass

from silmm_benchmarks.judges.interfaces import Judge


@dataclass
class Chair:
    """Holds at most one judge; the judges of a benchmark together may be larger than a memory."""

    _key: str = ""
    _judge: Judge | None = None

    def seat(self, key: str, build: Callable[[], Judge]) -> Judge:
        """Return the judge called `key`, built unless it is the one that is here."""
        if self._judge is None or key != self._key:
            self.clear()
            self._judge = build()
            self._key = key
        return self._judge

    def clear(self) -> None:
        """Let go of the judge and give its memory back, that of a GPU too."""
        if self._judge is None:
            return
        self._judge = None
        gc.collect()  # models hold circles
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()
