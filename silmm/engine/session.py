"""One process at work on a run: what its iterations share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from silmm.contracts.executors import Executor
from silmm.engine.workers.run_components import Components
from silmm.registry.observers import Observers
from silmm.storage.paths import RunFolder
from silmm.storage.timings import Timings

if TYPE_CHECKING:
    from silmm.engine.settings import RunSettings

Progress = Callable[[str, int, int], None]
"""Called with a stage, the units done and their total (0: not known)."""


class Stopped(Exception):  # not an error: the way out of the loop that --until asks for
    """Raised when the stage of `--until` is finished."""


@dataclass(frozen=True)
class Session:
    """One process at work on a run."""

    settings: RunSettings
    identity: Mapping[str, Any]
    """What :meth:`RunSettings.identity` was at the start."""
    folder: RunFolder
    components: Components
    executor: Executor
    observers: Observers
    progress: Progress
    timings: Timings
    excluded: Callable[[str], bool]
    """Says which prompts are held out for evaluation: all that the loop sees of a benchmark."""
    until: str | None = None
    from_: str | None = None
    shard: tuple[int, int] | None = None

    def owns_shard(self, shard: int) -> bool:
        """Say whether this process does the shard."""
        return self.shard is None or shard % self.shard[1] == self.shard[0]
