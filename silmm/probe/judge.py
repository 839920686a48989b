"""Probes a judge: what its files hold even where it does not load, then images through it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, cast

import pydantic

from silmm.probe.findings import Finding, Probe, Step
from silmm.registry.registration import Entry


class Prober(Protocol):
    """How a judge's plugin examines it; `register(..., probe=...)` names a function that returns one."""

    def files(self, options: Any) -> Mapping[str, Any]:
        """Return what the judge's files hold, read without building it: JSON-able facts by section.

        ``problems`` holds texts that are failed checks, ``notes`` texts that are worth a look. Files that
        are missing, damaged or of another model are problems, not errors: that is when one asks.

        Args:
            options: those that the judge is built from.
        """
        ...

    def examine(
        self, judge: Any, images: Sequence[Path], texts: Sequence[str]
    ) -> Iterable[tuple[str, Step]]:
        """Return named steps that put known images, and those of the user, through the built judge.

        Args:
            judge: what the factory returned.
            images: files that the user named.
            texts: what the user wants asked about the images; empty: what the plugin thinks of.
        """
        ...


def probe_judge(
    entry: Entry,
    options: Mapping[str, Any],
    build: Callable[[], Any],
    found: Probe,
    images: Sequence[Path],
    texts: Sequence[str],
) -> None:
    """Look at a judge's files, load it, and put images through it; each is a finding, none an error.

    Args:
        entry: how the judge is registered.
        options: its options, complete.
        build: builds it from these.
        found: takes what is found.
        images: of the user, beside those that the plugin knows.
        texts: of the user, in place of those that the plugin knows.
    """
    prober = cast("Prober", entry.probe()) if entry.probe else None
    if prober is not None:
        _files(prober, entry.options.model_validate(dict(options)), found)
    built: list[Any] = []

    def load() -> str:
        built.append(build())
        return f"it is a {type(built[0]).__name__}"

    if not found.attempt("load", load):
        _described_before(found)
        return
    found.facts["identity"] = {key: str(value) for key, value in built[0].identity.items()}
    steps = prober.examine(built[0], images, texts) if prober else _own_canaries(built[0])
    for name, step in steps:
        found.attempt(name, step)


def _files(prober: Prober, options: pydantic.BaseModel, found: Probe) -> None:
    own: list[Mapping[str, Any]] = []

    def read() -> str:
        own.append(prober.files(options))
        return "read"

    if found.attempt("files", read):
        seconds = found.findings.pop().seconds
        found.tell("files", own[0])
        found.facts["files"]["seconds to read"] = round(seconds, 2)


def _described_before(found: Probe) -> None:
    """Shorten the last finding if an earlier one says the same."""
    *before, last = found.findings
    if any(finding.detail == last.detail for finding in before):
        found.findings[-1] = replace(last, detail="does not load, for a reason told above")


def _own_canaries(judge: Any) -> Iterable[tuple[str, Step]]:
    """Ask a judge of another plugin what it knows itself, as `silmm bench` does."""
    ask = getattr(judge, "canaries", None)
    if not callable(ask):
        return

    def canaries() -> Finding | str:
        failed = [str(text) for text in ask()]
        return Finding("canaries", "fail", "; ".join(failed)) if failed else "passes its own"

    yield "canaries", canaries
