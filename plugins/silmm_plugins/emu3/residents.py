"""Which of policy and judge is on the accelerator: both, or the judge only while it answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Residents:
    """The two language models and where they work; outside :meth:`judging` the policy is in its place."""

    policy: nn.Module
    policy_device: str
    judge: nn.Module
    judge_device: str
    swap: bool
    """Both share a device that holds one of them: the other waits in main memory."""

    @contextmanager
    def judging(self) -> Iterator[None]:
        """Have the judge in its place, and the policy out of it if they swap."""
        if not self.swap or self.judge is self.policy:
            yield
            return
        self.policy.to("cpu")
        self.judge.to(self.judge_device)
        try:
            yield
        finally:
            self.judge.to("cpu")
            self.policy.to(self.policy_device)
