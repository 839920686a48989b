"""The findings of a probe: facts, checks with their times, the environment, peak memory."""

from __future__ import annotations

import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from typing import Any, Literal

from silmm.contracts.models import Image
from silmm.errors import SilmmError
from silmm.registry.registration import Entry

State = Literal["ok", "warn", "fail"]
_BYTES_PER_MB = 1e6
_PACKAGES = ("silmm", "torch", "transformers", "diffusers", "peft")


@dataclass(frozen=True)
class Finding:
    """One check: "warn" deserves attention, "fail" means that a run cannot work."""

    name: str
    state: State
    detail: str
    seconds: float = 0.0


Step = Callable[[], "Finding | str"]
"""Does something and returns its finding; a text stands for one that is ok."""


@dataclass
class Probe:
    """The result of a probe: all facts and findings of a base model or of a judge."""

    kind: Literal["model", "judge"]
    name: str
    options: Mapping[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    """Images that a base model sampled."""

    @property
    def sound(self) -> bool:
        """Whether no check failed."""
        return all(finding.state != "fail" for finding in self.findings)

    def attempt(self, name: str, step: Step) -> bool:
        """Do a step; its result or its error becomes a finding. Return whether it ended without an error."""
        start = time.perf_counter()
        try:
            result = step()
        except Exception as error:  # whatever the component raises is the finding
            self.findings.append(Finding(name, "fail", error_text(error), time.perf_counter() - start))
            return False
        finding = Finding(name, "ok", result) if isinstance(result, str) else result
        self.findings.append(replace(finding, seconds=time.perf_counter() - start))
        return True

    def report(self, section: str, reported: Mapping[str, Any]) -> None:
        """Keep what a plugin reports: facts, texts of failed checks, texts of warnings.

        Args:
            section: name of the facts and of the checks.
            reported: JSON-able facts; ``problems`` and ``notes`` are lists of texts.
        """
        facts = dict(reported)
        problems, notes = (list(map(str, facts.pop(key, ()))) for key in ("problems", "notes"))
        self.facts[section] = facts
        self.findings += [Finding(section, "fail", text) for text in problems]
        self.findings += [Finding(section, "warn", text) for text in notes]
        if not problems:
            self.findings.append(Finding(section, "ok", f"reports {', '.join(facts) or 'nothing'}"))

    def as_object(self) -> dict[str, Any]:
        """Return JSON-able data, without the images."""
        return {
            "ok": self.sound,
            self.kind: self.name,
            "options": dict(self.options),
            "facts": self.facts,
            "checks": [asdict(finding) for finding in self.findings],
        }


def environment(entry: Entry) -> dict[str, Any]:
    """Return JSON-able facts of the plugin, of Python and of the packages that a probe runs with."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "plugin": f"{entry.distribution} {entry.version}",
        "python": platform.python_version(),
        "packages": versions,
    }


def peak_memory() -> dict[str, float]:
    """Return the peak memory of this process and of each GPU so far, in MB."""
    import torch

    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is bytes there, KiB on Linux
    peak = {"process": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _BYTES_PER_MB, 1)}
    for number in range(torch.cuda.device_count()):
        peak[f"cuda:{number}"] = round(torch.cuda.max_memory_allocated(number) / _BYTES_PER_MB, 1)
    return peak


def error_text(error: Exception) -> str:
    """Return the text of an error: silmm's own messages as they are, others with their class."""
    return str(error) if isinstance(error, SilmmError) else f"{type(error).__name__}: {error}"
