"""Probes a judge: the content of its files, even where it does not load, then its answers about known images."""

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
        """Return the content of the judge's files, read without building it: JSON-able facts by section.

        ``problems`` holds texts of failed checks, ``notes`` texts of warnings. Files that are missing, damaged or of
        another model are problems, not errors: in these cases a probe is needed most.

        Args:
            options: of the judge.
        """
        ...

    def examine(
        self, judge: Any, images: Sequence[Path], texts: Sequence[str]
    ) -> Iterable[tuple[str, Step]]:
        """Return named steps that ask the judge about known images and those of the user.

        Args:
            judge: the object that the factory returned.
            images: files of the user.
            texts: the user's questions or texts about the images; empty: the plugin's own.
        """
        ...


def probe_judge(
    entry: Entry,
    options: Mapping[str, Any],
    build: Callable[[], Any],
    result: Probe,
    images: Sequence[Path],
    texts: Sequence[str],
) -> None:
    """Examine a judge's files, load it, and ask it about images; each is a finding, none an error.

    Args:
        entry: the judge's registration.
        options: its options, complete.
        build: builds it from these.
        result: collects facts and findings.
        images: of the user, in addition to the plugin's own.
        texts: of the user, in place of the plugin's own.
    """
    prober = cast("Prober", entry.probe()) if entry.probe else None
    if prober is not None:
        _files(prober, entry.options.model_validate(dict(options)), result)
    judges: list[Any] = []

    def load() -> str:
        judges.append(build())
        return f"it is a {type(judges[0]).__name__}"

    if not result.attempt("load", load):
        _shorten_last(result)
        return
    judge = judges[0]
    result.facts["identity"] = {key: str(value) for key, value in judge.identity.items()}
    for name, step in prober.examine(judge, images, texts) if prober else _own_canaries(judge):
        result.attempt(name, step)


def _files(prober: Prober, options: pydantic.BaseModel, result: Probe) -> None:
    reports: list[Mapping[str, Any]] = []

    def read() -> str:
        reports.append(prober.files(options))
        return "read"

    if result.attempt("files", read):
        seconds = result.findings.pop().seconds
        result.report("files", reports[0])
        result.facts["files"]["seconds to read"] = round(seconds, 2)


def _shorten_last(result: Probe) -> None:
    """Shorten the last finding if an earlier one says the same."""
    *before, last = result.findings
    if any(finding.detail == last.detail for finding in before):
        result.findings[-1] = replace(last, detail="does not load, for the reason above")


def _own_canaries(judge: Any) -> Iterable[tuple[str, Step]]:
    """Ask a judge of another plugin its own canaries, as `silmm bench` does."""
    ask = getattr(judge, "canaries", None)
    if not callable(ask):
        return

    def canaries() -> Finding | str:
        failed = [str(text) for text in ask()]
        return Finding("canaries", "fail", "; ".join(failed)) if failed else "passes its own"

    yield "canaries", canaries
