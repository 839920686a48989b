"""What a probe finds: facts, and checks with their times."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from silmm.contracts.models import Image
from silmm.errors import SilmmError

State = Literal["ok", "warn", "fail"]
_BYTES_PER_MB = 1e6


@dataclass(frozen=True)
class Finding:
    """One check: "warn" is worth a look, "fail" means that a run cannot work."""

    name: str
    state: State
    detail: str
    seconds: float = 0.0


Step = Callable[[], "Finding | str"]
"""Does something and says what came of it; a text means that all is well."""


@dataclass
class Probe:
    """All that was found of a base model or of a judge."""

    kind: Literal["model", "judge"]
    name: str
    options: Mapping[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    """What a base model sampled."""

    @property
    def sound(self) -> bool:
        """Whether no check failed."""
        return all(finding.state != "fail" for finding in self.findings)

    def attempt(self, name: str, step: Step) -> bool:
        """Take a step; what it says or raises becomes a finding. Say whether it came to its end."""
        start = time.perf_counter()
        try:
            result = step()
        except Exception as error:  # the finding of a probe is whatever the component raises
            self.findings.append(Finding(name, "fail", error_text(error), time.perf_counter() - start))
            return False
        finding = Finding(name, "ok", result) if isinstance(result, str) else result
        self.findings.append(replace(finding, seconds=time.perf_counter() - start))
        return True

    def tell(self, section: str, own: Mapping[str, Any]) -> None:
        """Keep what a plugin tells: facts, texts that are failed checks, texts that are worth a look.

        Args:
            section: where the facts stand, and what the checks are called.
            own: JSON-able facts; ``problems`` and ``notes`` are lists of texts.
        """
        facts = dict(own)
        problems, notes = (list(map(str, facts.pop(key, ()))) for key in ("problems", "notes"))
        self.facts[section] = facts
        self.findings += [Finding(section, "fail", text) for text in problems]
        self.findings += [Finding(section, "warn", text) for text in notes]
        if not problems:
            self.findings.append(Finding(section, "ok", f"tells {', '.join(facts) or 'nothing'}"))

    def as_object(self) -> dict[str, Any]:
        """Return JSON-able data, without the images."""
        return {
            "ok": self.sound,
            self.kind: self.name,
            "options": dict(self.options),
            "facts": self.facts,
            "checks": [asdict(finding) for finding in self.findings],
        }


def peak_memory() -> dict[str, float]:
    """Return the most memory that this process and each GPU held so far, in MB."""
    import torch

    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is bytes there, KiB on Linux
    peak = {"process": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _BYTES_PER_MB, 1)}
    for number in range(torch.cuda.device_count()):
        peak[f"cuda:{number}"] = round(torch.cuda.max_memory_allocated(number) / _BYTES_PER_MB, 1)
    return peak


def error_text(error: Exception) -> str:
    """Return an error as a finding tells it: our own messages as they are, others with their class."""
    return str(error) if isinstance(error, SilmmError) else f"{type(error).__name__}: {error}"
