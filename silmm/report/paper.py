"""Where the settings of a run differ from the paper's (arXiv 2412.05818, App. 9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LOOP: Mapping[str, object] = {
    "judge_model": "the model itself",
    "prompter": "self",
    "questioner": "self-q",
    "scorer": "diff-of-prob",
    "pair_rule": "top-last",
    "prompts": 16000,
    "iterations": 3,
    "trainer.rank": 32,
    "trainer.alpha": 32.0,
    "trainer.batch_size": 32,
    "trainer.gradient_accumulation_steps": 4,
}
"""Settings that the paper states for both kinds of model, by the name that the command line has."""


@dataclass(frozen=True)
class Paper:
    """The settings that the paper states for one kind of model."""

    model: str
    settings: Mapping[str, object]


DISCRETE = Paper(
    "its discrete model (SEED-LLaMA, App. 9)",
    {
        **LOOP,
        "sampler": "nucleus",
        "trainer": "dpo",
        "images_per_prompt": 10,
        "pair-rule.k": 1,
        "trainer.max_steps": 1000,
        "trainer.warmup_steps": 100,
        "trainer.learning_rate": 5e-5,
        "trainer.beta": 0.2,
        "trainer.nll_weight": 0.0,
    },
)
CONTINUOUS = Paper(
    "its continuous model (DreamLLM, App. 9)",
    {
        **LOOP,
        "sampler": "dropdiv",
        "trainer": "kc-dpo",
        "kernel": "avgpool-cos",
        "images_per_prompt": 30,
        "pair-rule.k": 10,
        "trainer.max_steps": 2000,
        "trainer.warmup_steps": 200,
        "trainer.learning_rate": 8e-6,
        "trainer.gamma": 3.0,
        "trainer.chosen_weight": 0.0,
    },
)


REASONS: Mapping[str, str] = {
    "prompts": "scale: a tiny model learns from fewer prompts",
    "trainer.nll_weight": "a likelihood term on the chosen: the paper's loss alone let the likelihood of "
    "the chosen fall with the rejected's on the tiny model",
    "trainer.chosen_weight": "a pull towards the chosen: the paper's loss alone let the policy run away from both "
    "sides on the tiny model",
    "trainer.gamma": "auto divides by the typical distance of the candidates: kernels' scales differ",
    "trainer.learning_rate": "a tiny model needs larger steps",
    "trainer.max_steps": "scale: fewer pairs",
    "judge_model": "another model answers: no self-improvement",
    "scorer": "another scorer, for comparison or as a control",
}


@dataclass(frozen=True)
class Deviation:
    """One setting that is not the paper's."""

    setting: str
    paper: str
    here: str
    reason: str


def paper_of(continuous: bool) -> Paper:
    """Return the paper's settings for one kind of model."""
    return CONTINUOUS if continuous else DISCRETE


def deviations(settings: Mapping[str, Any], paper: Paper = DISCRETE) -> list[Deviation]:
    """Compare a run's settings with the paper's; those that the run does not have are left out."""
    values = {name: _value(settings, name) for name in paper.settings}
    return [
        Deviation(name, str(stated), str(values[name]), REASONS.get(name, ""))
        for name, stated in paper.settings.items()
        if values[name] is not None and values[name] != stated
    ]


def _value(settings: Mapping[str, Any], name: str) -> object:
    kind, _, option = name.rpartition(".")
    if not kind:
        return settings.get(name)
    options: Mapping[str, Any] = settings.get("options", {}).get(kind, {})
    return options.get(option)
