"""Kinds of components, the settings that name them, and their other spellings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


FIELD_OF_KIND: Mapping[str, str] = {
    "model": "model",
    "judge_model": "judge_model",
    "prompter": "prompter",
    "sampler": "sampler",
    "questioner": "questioner",
    "scorer": "scorer",
    "pair-rule": "pair_rule",
    "trainer": "trainer",
    "kernel": "kernel",
    "benchmark": "benchmark",
}
"""Kind of component (the key of option tables) to the setting that names the component."""


REGISTERED_AS: Mapping[str, str] = {"judge_model": "model"}
"""Kind of component to the kind that it is registered as, where that is another."""


KIND_ALIASES = {"pair_rule": "pair-rule", "judge-model": "judge_model"}
"""Other spellings of kinds in option tables and in `--set`."""
