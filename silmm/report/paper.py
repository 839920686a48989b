"""Where the settings of a run differ from the paper's (arXiv 2412.05818, App. 9, SEED-LLaMA)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PAPER: Mapping[str, object] = {
    "prompter": "self",
    "sampler": "nucleus",
    "questioner": "self-q",
    "scorer": "diff-of-prob",
    "pair_rule": "top-last",
    "trainer": "dpo",
    "prompts": 16000,
    "images_per_prompt": 10,
    "iterations": 3,
    "pairs.k": 1,
    "trainer.rank": 32,
    "trainer.alpha": 32.0,
    "trainer.steps": 1000,
    "trainer.warmup": 100,
    "trainer.learning_rate": 5e-5,
    "trainer.batch": 32,
    "trainer.accumulation": 4,
    "trainer.beta": 0.2,
    "trainer.nll": 0.0,
}
"""Settings that the paper states for a discrete model, by the name that the command line has."""

REASONS: Mapping[str, str] = {
    "prompts": "scale: a tiny model learns from fewer prompts",
    "trainer.nll": "a likelihood term on the chosen: the paper's loss alone let the likelihood of "
    "the chosen fall with the rejected's on the tiny model",
    "trainer.learning_rate": "a tiny model needs larger steps",
    "trainer.steps": "scale: fewer pairs",
    "scorer": "another scorer, for comparison or as a control",
}


@dataclass(frozen=True)
class Deviation:
    """One setting that is not the paper's."""

    setting: str
    paper: str
    here: str
    reason: str


def deviations(settings: Mapping[str, Any]) -> list[Deviation]:
    """Compare a run's settings with the paper's; those that the run does not have are left out."""
    found = []
    for name, paper in PAPER.items():
        here = _value(settings, name)
        if here is not None and here != paper:
            found.append(Deviation(name, str(paper), str(here), REASONS.get(name, "")))
    return found


def _value(settings: Mapping[str, Any], name: str) -> object:
    kind, _, option = name.rpartition(".")
    if not kind:
        return settings.get(name)
    options: Mapping[str, Any] = settings.get("options", {}).get(kind, {})
    return options.get(option)
