"""Finds and loads plugins by entry points; a broken one keeps its reason and stops nobody."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from importlib import metadata

import pluggy

from silmm.contracts import hookspecs
from silmm.errors import PluginError, UsageError
from silmm.suggestions import did_you_mean, listed
from silmm.version import SILMM_PLUGIN_API, __version__

GROUP = "silmm"
"""The entry-point group and the pluggy project name."""
HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("silmm_"))
"""The names of all hooks."""
LOAD_VARIABLE = "SILMM_LOAD_PLUGINS"
STRICT_VARIABLE = "SILMM_STRICT_PLUGINS"


@dataclass(frozen=True)
class Origin:
    """Where a plugin comes from."""

    name: str
    """The entry point's name."""
    value: str
    """The entry point's target, ``module`` or ``module:object``."""
    distribution: str
    version: str

    def __str__(self) -> str:
        """Return ``distribution version (entry point name)``."""
        return f"{self.distribution} {self.version} (entry point {self.name!r})"


@dataclass(frozen=True)
class BrokenPlugin:
    """A plugin that could not be used, and why."""

    origin: Origin
    reason: str
    """One line."""
    traceback: str


Accept = Callable[[pluggy.PluginManager, Origin], None]
"""Called with a manager that holds one plugin alone; raises to refuse the plugin."""


@dataclass
class Plugins:
    """All plugins of this process: a manager with the sound ones, and the broken ones apart."""

    manager: pluggy.PluginManager
    loaded: list[Origin] = field(default_factory=list)
    broken: list[BrokenPlugin] = field(default_factory=list)


def new_manager() -> pluggy.PluginManager:
    """Return a plugin manager that knows the hook specifications and no plugin."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    return manager


def load(
    accept: Accept | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    skip: Collection[str] = (),
) -> Plugins:
    """Load every entry point of group ``silmm``, in the order of distribution and name.

    Args:
        accept: Tries each plugin alone before it joins the others.
        environ: ``SILMM_LOAD_PLUGINS`` picks entry points or distributions (comma list; empty loads
            nothing), ``SILMM_STRICT_PLUGINS=1`` raises the first problem instead of keeping it.
        skip: Distributions to leave out.

    Raises:
        UsageError: ``SILMM_LOAD_PLUGINS`` names something that is not installed.
    """
    plugins = Plugins(new_manager())
    strict = environ.get(STRICT_VARIABLE, "") not in ("", "0")
    skipped = {_normal(name) for name in skip}
    for origin, point in _selected(environ.get(LOAD_VARIABLE)):
        if _normal(origin.distribution) in skipped:
            continue
        try:
            add(plugins.manager, origin, point.load(), accept, sys.modules.get(point.module))
        except (Exception, SystemExit) as error:  # SystemExit: a module may call sys.exit on import
            if strict:
                raise
            plugins.broken.append(_broken(origin, error))
        else:
            plugins.loaded.append(origin)
    return plugins


def _selected(wanted: str | None) -> list[tuple[Origin, metadata.EntryPoint]]:
    points = sorted(
        ((_origin(point), point) for point in metadata.entry_points(group=GROUP)),
        key=lambda pair: (pair[0].distribution, pair[0].name),
    )
    if wanted is None:
        return points
    names = {name.strip() for name in wanted.split(",")} - {""}
    installed_names = {name for origin, _ in points for name in (origin.name, origin.distribution)}
    for name in sorted(names):
        if _normal(name) not in {_normal(installed) for installed in installed_names}:
            raise UsageError(
                f"{LOAD_VARIABLE} names {name!r}, which is not an installed plugin"
                f"{did_you_mean(name, installed_names)} Installed: {listed(installed_names)}."
            )
    normal = {_normal(name) for name in names}
    return [
        (origin, point)
        for origin, point in points
        if normal & {_normal(origin.name), _normal(origin.distribution)}
    ]


def _origin(point: metadata.EntryPoint) -> Origin:
    dist = point.dist
    name = dist.name if dist is not None else "unknown"
    return Origin(point.name, point.value, name, dist.version if dist is not None else "unknown")


def _normal(name: str) -> str:
    """Return a distribution's name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def add(
    manager: pluggy.PluginManager,
    origin: Origin,
    plugin: object,
    accept: Accept | None,
    module: object = None,
) -> None:
    """Check a plugin and let it join the manager.

    Args:
        manager: holds the sound plugins.
        origin: where the plugin comes from.
        plugin: a module or an object with hook implementations.
        accept: tries the plugin alone before it joins the others.
        module: the module that holds the plugin, if it is an object of one.

    Raises:
        PluginError: the plugin is not valid, or it is there already.
    """
    _check_version(plugin, module)
    _check_hooks(plugin)
    name = f"{origin.distribution}/{origin.name}"
    if manager.is_registered(plugin) or manager.has_plugin(name):
        raise PluginError("the same plugin is already loaded through another entry point")
    # A manager of its own: what a plugin registers before it fails is thrown away with the manager.
    alone = new_manager()
    alone.register(plugin)
    if accept is not None:
        accept(alone, origin)
    manager.register(plugin, name=name)


def _check_version(*holders: object) -> None:
    for holder in holders:
        stated = getattr(holder, "SILMM_PLUGIN_API", SILMM_PLUGIN_API)
        if stated != SILMM_PLUGIN_API:
            raise PluginError(
                f"it was written for plugin API {stated!r} and this silmm {__version__} has "
                f"{SILMM_PLUGIN_API}; install a release of the plugin made for this version"
            )


def _check_hooks(plugin: object) -> None:
    """Refuse functions that carry the reserved prefix and would silently never be called."""
    for name in dir(plugin):
        if not name.startswith("silmm_"):
            continue
        function = getattr(plugin, name)
        if not inspect.isroutine(function):
            continue
        if name not in HOOKS:
            raise PluginError(f"{name!r} is not a hook of silmm{did_you_mean(name, HOOKS)}")
        if not hasattr(function, "silmm_impl"):
            raise PluginError(f"{name!r} is not marked; put @silmm.hookimpl above it")


def _broken(origin: Origin, error: BaseException) -> BrokenPlugin:
    lines = str(error).strip().splitlines()
    message = lines[0] if lines else ""
    reason = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return BrokenPlugin(origin, reason, _plugin_traceback(error))


def _plugin_traceback(error: BaseException) -> str:
    """Return the traceback without the frames of this loader and of the import system."""
    report = traceback.TracebackException.from_exception(error)
    machinery = (__file__, metadata.__file__, importlib.__file__, "<frozen importlib")
    frames = [frame for frame in report.stack if not frame.filename.startswith(machinery)]
    report.stack = traceback.StackSummary.from_list(frames)
    return "".join(report.format())
