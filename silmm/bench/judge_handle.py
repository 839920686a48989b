"""The judges that are in memory: all that were opened, or one at a time where memory is short."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from silmm.contracts.judges import Judge


def if_short(one_judge: bool) -> str:
    """Return what to do where memory was short, for a message; nothing where it is done already."""
    return "" if one_judge else "if memory was short, add --one-judge; "


@dataclass
class JudgePool:
    """Holds open judges; with `one_judge`, opening another one lets go of the one before first."""

    one_judge: bool
    _judges: dict[str, Judge] = field(default_factory=dict)

    def handle(self, key: str, build: Callable[[], Judge]) -> Judge:
        """Return the judge called `key`, built unless it is here."""
        if key not in self._judges:
            if self.one_judge:
                self.clear()
            self._judges[key] = build()
        return self._judges[key]

    def clear(self) -> None:
        """Let go of all judges and give their memory back, that of a GPU too."""
        if not self._judges:
            return
        self._judges.clear()
        gc.collect()  # models hold circles
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()
