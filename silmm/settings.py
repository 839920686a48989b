"""The settings of a run, resolved from defaults, the model, a TOML file and the command line."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, PrivateAttr, field_validator

from silmm.content import checkpoint_content, file_content
from silmm.errors import DataError, UsageError
from silmm.file_digests import Announce
from silmm.options import (
    NAME_KEY,
    CheckpointMark,
    Given,
    Options,
    canonical,
    checkpoint_options,
    complete,
    file_options,
    split_assignment,
)
from silmm.suggestions import did_you_mean, listed

if TYPE_CHECKING:
    from silmm.registration import Entry
    from silmm.registry import Registry

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NO_BENCHMARK = "none"
"""The benchmark name that switches evaluation off."""
FIELD_OF_KIND: Mapping[str, str] = {
    "model": "model",
    "judge_model": "judge_model",
    "prompter": "prompter",
    "sampler": "sampler",
    "questioner": "questioner",
    "scorer": "scorer",
    "pairs": "pair_rule",
    "trainer": "trainer",
    "kernel": "kernel",
    "benchmark": "benchmark",
}
"""Kind of component (the key of option tables) to the setting that names the component."""
REGISTERED_AS: Mapping[str, str] = {"judge_model": "model"}
"""Kind of component to the kind that it is registered as, where that is another."""
KIND_ALIASES = {"pair_rule": "pairs", "pair-rule": "pairs", "judge-model": "judge_model"}
"""Other spellings of kinds in option tables and in `--set`."""

Layer = dict[tuple[str, str], Given]
"""Values of one source by (kind, option); kind "" holds the settings themselves."""


class RunSettings(Options):
    """Everything that decides a run's result; the defaults are the paper's where it states them."""

    model: str = Field(
        "tiny-discrete",
        description="base model; where none is named and this one cannot work with the components that "
        "are, the first that can",
    )
    judge_model: str | None = Field(
        None,
        description="another base model that answers the questions in place of the model itself; it is never "
        "tuned. None: the model answers, as in the paper",
    )
    prompter: str = Field("self", description="who writes the prompts")
    sampler: str = Field("nucleus", description="how representations are drawn")
    questioner: str = Field("self-q", description="how prompts become questions")
    scorer: str = Field("diff-of-prob", description="how answers become a score")
    pair_rule: str = Field("top-last", description="which candidates become pairs")
    trainer: str = Field("dpo", description="how the model is tuned on the pairs")
    kernel: str | None = Field(
        None, description="distance of features, AGGREGATION-DISTANCE, if the trainer takes one"
    )
    benchmark: str = Field(
        NO_BENCHMARK, description="evaluation before and after; none for no such"
    )
    prompts: int | str = Field(
        16000, union_mode="left_to_right", description="number of prompts, or a file of prompts"
    )
    images_per_prompt: int = Field(10, ge=2, description="candidates drawn for each prompt")
    decodes: int = Field(
        1, ge=1, description="noises of the decoder that each candidate is decoded and scored under"
    )
    iterations: int = Field(1, ge=1, description="rounds; each tuned model is the next reference")
    seed: int = Field(0, ge=0, description="seed of the whole run")
    limit: int | None = Field(None, ge=1, description="use this many prompts only; marks the run")
    pairs: str | None = Field(None, description="file of the user's own pairs (offline training)")
    shard_size: int = Field(32, ge=1, description="prompts in one shard, the unit of work")
    threads: int = Field(1, ge=1, description="torch threads of a worker; part of the identity")
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

    @classmethod
    def resolve(
        cls,
        registry: Registry,
        toml_path: Path | None = None,
        flags: Mapping[str, object] | None = None,
        sets: Sequence[str] = (),
        announce: Announce = lambda _: None,
    ) -> RunSettings:
        """Merge all sources: option defaults < the model's defaults < TOML < flags and ``--set``.

        Where no source names the model, it is :func:`silmm.capabilities.fitting_model`. A kernel among
        the model's defaults falls away with a trainer that takes none.

        Args:
            registry: Names of components, their option classes and the models' defaults.
            toml_path: File of ``--config``.
            flags: Settings by field name; None means not given.
            sets: Texts ``kind.option=value``; later ones win, and they win over flags.
            announce: Told when a checkpoint has to be read as a whole, to know what it is.

        Raises:
            UsageError: An unknown key or name, a value that is not accepted, or no model fits the
                components that are named.
            PluginError: A component is ambiguous or may belong to a broken plugin.
            DataError: A file or a checkpoint cannot be read.
        """
        user = _read_toml(toml_path) if toml_path is not None else {}
        user |= _from_flags(flags or {}) | _from_sets(sets)
        _check_kinds(user)
        own = _of_kind(user, "")
        model = _model(registry, own)
        preset = _from_model(model, registry.entry("model", model).defaults)
        _check_kinds(preset)
        values = complete(cls, "settings", _of_kind(preset, "") | own) | {"model": model}
        if "kernel" not in own and "kernel" not in registry.entry("trainer", values["trainer"]).accepts:
            values["kernel"] = None
        values["options"] = _component_options(registry, values, preset, user)
        settings = cls.model_validate(values)
        classes = {kind: settings.entry(registry, kind).options for kind in settings.options}
        settings._files = tuple(
            (kind, option) for kind, options in classes.items() for option in file_options(options)
        )
        settings._checkpoints = tuple(
            (kind, option, mark)
            for kind, options in classes.items()
            for option, mark in checkpoint_options(options).items()
        )
        settings.identity(announce)  # reads files and checkpoints, so a missing one fails here
        return settings

    def component(self, kind: str) -> str | None:
        """Return the chosen component of a kind, or None where there is none."""
        name: str | None = getattr(self, FIELD_OF_KIND[kind])
        return None if kind == "benchmark" and name == NO_BENCHMARK else name

    def entry(self, registry: Registry, kind: str) -> Entry:
        """Return the registration of the chosen component of a kind, which there must be.

        Raises:
            UsageError, PluginError: As :meth:`silmm.registry.Registry.entry`.
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
        for kind, option in self._files:
            if path := data["options"][kind][option]:
                data["options"][kind][option] = file_content(path, f"--set {kind}.{option}")
        for kind, option, mark in self._checkpoints:
            given = self.options[kind]
            data["options"][kind] |= checkpoint_content(given, option, mark, kind, announce)
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


def _model(registry: Registry, own: Mapping[str, Given]) -> str:
    """Return the model that the user names, or the one that fits the other components."""
    from silmm.capabilities import fitting_model  # imported late: it reads these settings

    draft = RunSettings.model_validate(complete(RunSettings, "settings", own))
    named = [kind for kind, field in FIELD_OF_KIND.items() if field in own]
    return draft.model if "model" in named else fitting_model(registry, draft, named)


def digest_of(identity: Mapping[str, Any]) -> str:
    """Return the SHA-256 of an identity's canonical JSON, 64 hexadecimal digits."""
    return hashlib.sha256(canonical(identity).encode()).hexdigest()


def _read_toml(path: Path) -> Layer:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"cannot read the settings file {str(path)!r}: {error.strerror}; check --config"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from None
    layer: Layer = {}
    for key, value in data.items():
        if isinstance(value, dict):
            layer |= _from_table(path, KIND_ALIASES.get(key, key), value)
        else:
            layer["", key.replace("-", "_")] = Given(value, str(path))
    return layer


def _from_table(path: Path, kind: str, table: Mapping[str, object]) -> Layer:
    """Read ``[sampler]``; its key ``name`` picks the component."""
    layer: Layer = {}
    for key, value in table.items():
        place = ("", FIELD_OF_KIND.get(kind, kind)) if key == NAME_KEY else (kind, key)
        layer[place] = Given(value, f"{path} [{kind}]")
    return layer


def _from_flags(flags: Mapping[str, object]) -> Layer:
    return {
        ("", name.replace("-", "_")): Given(value, f"--{name.replace('_', '-')}", text=True)
        for name, value in flags.items()
        if value is not None
    }


def _from_sets(sets: Sequence[str]) -> Layer:
    layer: Layer = {}
    for text in sets:
        kind, field, value = split_assignment(text)
        layer[KIND_ALIASES.get(kind, kind), field] = Given(value, f"--set {text}", text=True)
    return layer


def _from_model(model: str, defaults: Mapping[str, object]) -> Layer:
    layer: Layer = {}
    for key, value in defaults.items():
        kind, _, field = key.rpartition(".")
        layer[KIND_ALIASES.get(kind, kind), field] = Given(value, f"defaults of model {model!r}")
    return layer


def _check_kinds(layer: Layer) -> None:
    """Refuse option tables of unknown kinds and attempts to set `options` as a whole."""
    known = [name for name in RunSettings.model_fields if name != "options"]
    for (kind, field), given in layer.items():
        if kind in ("aggregation", "distance"):
            raise UsageError(
                f"options of an aggregation or a distance are options of the kernel: write kernel.{field} "
                f"(given by {given.source})"
            )
        if kind and kind not in FIELD_OF_KIND:
            raise UsageError(
                f"there is no kind of component {kind!r} (given by {given.source})"
                f"{did_you_mean(kind, FIELD_OF_KIND)} Kinds: {listed(FIELD_OF_KIND)}."
            )
        if not kind and field not in known:
            raise UsageError(
                f"there is no setting {field!r} (given by {given.source})"
                f"{did_you_mean(field, known)} Settings: {listed(known)}."
            )


def _of_kind(layer: Layer, kind: str) -> dict[str, Given]:
    return {field: given for (one, field), given in layer.items() if one == kind}


def _component_options(
    registry: Registry, values: Mapping[str, Any], preset: Layer, user: Layer
) -> dict[str, dict[str, Any]]:
    """Return the complete options of every chosen component by kind."""
    chosen: dict[str, dict[str, Any]] = {}
    for kind, field in FIELD_OF_KIND.items():
        name, given = values[field], _of_kind(user, kind)
        if name is None or (kind == "benchmark" and name == NO_BENCHMARK):
            if given:
                source = next(iter(given.values())).source
                flag = field.replace("_", "-")
                raise UsageError(f"{source} sets a {kind} option, but no --{flag} is chosen")
            continue
        entry = registry.entry(REGISTERED_AS.get(kind, kind), name)
        # A model's default is for whichever component has that option; another one just lacks it.
        fits = {
            option: value
            for option, value in _of_kind(preset, kind).items()
            if option in entry.options.model_fields
        }
        chosen[kind] = complete(entry.options, f"{kind} {name!r}", fits | given)
    return chosen
