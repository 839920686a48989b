"""The settings of a run, resolved from defaults, the model, a TOML file and the command line."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, PrivateAttr, field_validator

from silmm.contracts.options import (
    CheckpointMark,
    Options,
    canonical,
    checkpoint_options,
    file_options,
    option,
)
from silmm.engine.component_options import FIELD_OF_KIND, REGISTERED_AS
from silmm.errors import DataError
from silmm.storage.fingerprint import checkpoint_content, file_content
from silmm.storage.sha256_cache import Announce

if TYPE_CHECKING:
    from silmm.registry.registration import Entry
    from silmm.registry.registry import Registry

NO_BENCHMARK = "none"
"""The benchmark name that switches evaluation off."""

class RunSettings(Options):
    """Everything that decides a run's result; the defaults are the paper's where it states them."""

    model: str = option(
        "tiny-discrete",
        "base model; where none is named and this one cannot work with the components that are, the first that "
        "can",
    )
    judge_model: str | None = option(
        None,
        "another base model that answers the questions in place of the model itself; it is never tuned. None: the "
        "model answers, as in the paper",
    )
    prompter: str = option("self", "who writes the prompts")
    sampler: str = option("nucleus", "how representations are sampled")
    questioner: str = option("self-q", "how prompts become questions")
    scorer: str = option("diff-of-prob", "how answers become a score")
    pair_rule: str = option("top-last", "which candidates become pairs")
    trainer: str = option("dpo", "how the model is tuned on the pairs")
    kernel: str | None = option(None, "distance of features, AGGREGATION-DISTANCE, if the trainer takes one")
    benchmark: str = option(NO_BENCHMARK, "evaluation before and after; none for no such")
    prompts: int | str = option(16000, "number of prompts, or a file of prompts", union_mode="left_to_right")
    images_per_prompt: int = option(10, "candidates sampled for each prompt", ge=2)
    decodes_per_candidate: int = option(
        1, "noises of the decoder that each candidate is decoded and scored under", ge=1
    )
    iterations: int = option(1, "rounds; each tuned model is the next reference", ge=1)
    seed: int = option(0, "seed of the whole run", ge=0)
    limit: int | None = option(None, "use this many prompts only; marks the run", ge=1)
    pairs: str | None = option(None, "file of the user's own pairs (offline training)")
    shard_size: int = option(32, "prompts in one shard, the unit of work", ge=1)
    threads: int = option(1, "torch threads of a worker; part of the identity", ge=1)
    options: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="options of each component by kind, complete"
    )
    _files: tuple[tuple[str, str], ...] = PrivateAttr(())
    """(kind, option) of the options that name input files."""
    _checkpoints: tuple[tuple[str, str, CheckpointMark], ...] = PrivateAttr(())
    """(kind, option, what its class says) of the options that name checkpoints."""

    @field_validator("prompts")
    @classmethod
    def _some_prompts(cls, value: int | str) -> int | str:
        if value == "" or (isinstance(value, int) and value < 1):
            raise ValueError("give a number of at least 1 or the path of a file")
        return value

    def bind_inputs(self, registry: Registry) -> RunSettings:
        """Note which options name input files and checkpoints: the identity holds these by content."""
        classes = {kind: self.entry(registry, kind).options for kind in self.options}
        self._files = tuple(
            (kind, option) for kind, options in classes.items() for option in file_options(options)
        )
        self._checkpoints = tuple(
            (kind, option, mark)
            for kind, options in classes.items()
            for option, mark in checkpoint_options(options).items()
        )
        return self

    def component(self, kind: str) -> str | None:
        """Return the chosen component of a kind, or None where there is none."""
        name: str | None = getattr(self, FIELD_OF_KIND[kind])
        return None if kind == "benchmark" and name == NO_BENCHMARK else name

    def entry(self, registry: Registry, kind: str) -> Entry:
        """Return the registration of the chosen component of a kind, which there must be.

        Raises:
            UsageError, PluginError: As :meth:`silmm.registry.registry.Registry.entry`.
        """
        return registry.entry(REGISTERED_AS.get(kind, kind), str(self.component(kind)))

    def identity(self, announce: Announce = lambda _: None) -> dict[str, Any]:
        """Return what decides the result as JSON-able data; files and checkpoints stand by their content.

        A judge model that is not there does not stand in it.

        Args:
            announce: Told when a checkpoint has to be read as a whole.

        Raises:
            DataError: An input file or a checkpoint cannot be read.
        """
        data = self.model_dump(mode="json")
        if self.judge_model is None:
            del data["judge_model"]
        if isinstance(self.prompts, str):
            data["prompts"] = file_content(self.prompts, "--prompts")
        if self.pairs is not None:
            data["pairs"] = file_content(self.pairs, "--pairs")
        for kind, name in self._files:
            if path := data["options"][kind][name]:
                data["options"][kind][name] = file_content(path, f"--set {kind}.{name}")
        for kind, name, mark in self._checkpoints:
            component_options = self.options[kind]
            data["options"][kind] |= checkpoint_content(component_options, name, mark, kind, announce)
        return data

    def require(self, identity: Mapping[str, Any]) -> None:
        """Refuse to go on when what the settings name is no longer what it was.

        Raises:
            DataError: A file or a checkpoint changed, or cannot be read any more.
        """
        if self.identity() != identity:
            raise DataError(
                "A file of prompts or pairs, or a checkpoint, changed while the run was going on, so that "
                "run.json no longer tells what it works on. Put the old content back, or use a new run "
                "directory; of a repository on the hub, name the old commit as the revision."
            )

    @property
    def digest(self) -> str:
        """The SHA-256 of the identity's canonical JSON, 64 hexadecimal digits."""
        return digest_of(self.identity())

    @property
    def default_run_dir(self) -> Path:
        """``runs/MODEL-DIGEST``, so that equal settings find one run."""
        model = re.sub(r"[^A-Za-z0-9._-]+", "-", self.model).strip(".-") or "model"
        return Path("runs") / f"{model}-{self.digest[:8]}"


def digest_of(identity: Mapping[str, Any]) -> str:
    """Return the SHA-256 of an identity's canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(canonical(identity).encode()).hexdigest()
