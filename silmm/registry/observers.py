"""The typed door to the observation hooks; one that raises is reported and stops nothing."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from silmm.registry.discovery import new_manager

if TYPE_CHECKING:
    import pyarrow as pa

OBSERVATIONS = (
    "silmm_run_started",
    "silmm_stage_finished",
    "silmm_train_step",
    "silmm_iteration_finished",
    "silmm_run_finished",
)


PROGRESS = "progress"
"""A method of observing objects that is no hook: it is called often, for displays."""


class ObserverWarning(UserWarning):
    """An observer raised; the run goes on without what it would have shown."""


@dataclass(frozen=True)
class _Listener:
    owner: str
    function: Callable[..., object]
    arguments: tuple[str, ...]


class Observers:
    """Calls the observation hooks of all plugins and of further objects (trackers, a display)."""

    def __init__(
        self, manager: pluggy.PluginManager | None = None, extra: Sequence[object] = ()
    ) -> None:
        """Collect the listeners: the plugins' hook implementations, then the methods of `extra`.

        An object of `extra` needs no marker; its methods carry the hooks' names and take any of
        the hooks' arguments. It may have `progress(stage, done, total)` too.
        """
        manager = manager or new_manager()
        self._listeners = {
            name: _plugins(manager, name) + _methods(extra, name) for name in OBSERVATIONS
        }
        self._listeners[PROGRESS] = _methods(extra, PROGRESS)
        self._reported: set[str] = set()

    def run_started(self, run: Path, settings: Mapping[str, Any]) -> None:
        """Tell that a run starts or resumes."""
        self._call("silmm_run_started", run=run, settings=settings)

    def stage_finished(self, run: Path, iteration: int, stage: str, table: pa.Table | None) -> None:
        """Tell that a stage is finished, with its table (None after training)."""
        self._call("silmm_stage_finished", run=run, iteration=iteration, stage=stage, table=table)

    def train_step(
        self, run: Path, iteration: int, step: int, metrics: Mapping[str, float]
    ) -> None:
        """Tell of one optimizer step (1-based)."""
        self._call("silmm_train_step", run=run, iteration=iteration, step=step, metrics=metrics)

    def iteration_finished(self, run: Path, iteration: int, metrics: Mapping[str, float]) -> None:
        """Tell that an iteration is finished."""
        self._call("silmm_iteration_finished", run=run, iteration=iteration, metrics=metrics)

    def run_finished(self, run: Path) -> None:
        """Tell that the run is finished."""
        self._call("silmm_run_finished", run=run)

    def progress(self, stage: str, done: int, total: int) -> None:
        """Tell how far a stage is, in its own units (total 0: not known)."""
        self._call(PROGRESS, stage=stage, done=done, total=total)

    def _call(self, hook: str, **values: object) -> None:
        for listener in self._listeners[hook]:
            try:
                listener.function(**{name: values[name] for name in listener.arguments})
            except Exception as error:
                self._report(listener, hook, error)

    def _report(self, listener: _Listener, hook: str, error: Exception) -> None:
        key = f"{listener.owner}.{hook}"
        if key in self._reported:
            return
        self._reported.add(key)
        warnings.warn(
            f"observer {listener.owner} failed in {hook} ({type(error).__name__}: {error}); "
            "the run goes on, and this is said once",
            ObserverWarning,
            stacklevel=4,
        )


def _plugins(manager: pluggy.PluginManager, hook: str) -> list[_Listener]:
    implementations = getattr(manager.hook, hook).get_hookimpls()
    return [
        _Listener(impl.plugin_name, impl.function, tuple(impl.argnames))
        for impl in reversed(implementations)  # pluggy's own order of calls: last registered first
    ]


def _methods(observers: Sequence[object], name: str) -> list[_Listener]:
    listeners = []
    for observer in observers:
        method = getattr(observer, name, None)
        if callable(method):
            arguments = tuple(inspect.signature(method).parameters)
            listeners.append(_Listener(type(observer).__qualname__, method, arguments))
    return listeners
