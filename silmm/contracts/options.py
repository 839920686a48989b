"""Options of components: typed pydantic models, filled from layers of values with clear errors."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from silmm.errors import UsageError
from silmm.suggestions import did_you_mean, listed

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAME_KEY = "name"
"""In a TOML table this key picks the component, so no option may be called so."""


class Options(BaseModel):
    """Base of all option classes: frozen, no unknown keys, no NaN or infinity.

    Every field is an :func:`option` with a default and a description.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def option(
    default: object,
    text: str = "",
    *,
    unit: str = "",
    paper: str = "ours",
    file: bool = False,
    checkpoint: bool | Mapping[str, object] | None = None,
    **constraints: Any,
) -> Any:
    """Return a field of an option class.

    Args:
        default: The value where none is given.
        text: What the option decides, as `silmm plugins show` prints it.
        unit: Its unit.
        paper: Where the paper states it, "ours" where it does not.
        file: The option is the path of an input file (empty or None: no file), which counts by its content in
            a run's identity.
        checkpoint: The option names weights, which count by their content; True or the keys of
            :class:`CheckpointMark`.
        constraints: Those of pydantic's ``Field``, for example ``ge=1``.
    """
    marks: dict[str, Any] = {"paper": paper, "unit": unit}
    if file:
        marks["file"] = True
    if checkpoint is not None:
        marks["checkpoint"] = checkpoint if isinstance(checkpoint, bool) else dict(checkpoint)
    return Field(default, description=text or None, json_schema_extra=marks, **constraints)


def presets(kind: str, *names: str, **values: object) -> dict[str, object]:
    """Return presets of a model for components of one kind: ``{"sampler/nucleus.temperature": 1.5}``.

    They are entries of what a model is registered with as ``defaults``.

    Args:
        kind: Kind of the components.
        names: The components that the values were tuned for or are known to suit.
        values: Option to value; each component has each of these options.
    """
    return {f"{kind}/{name}.{option}": value for name in names for option, value in values.items()}


class NoOptions(Options):
    """The options of a component that has none."""


class CheckpointMark(BaseModel):
    """What ``option(…, checkpoint=…)`` says of an option that names weights.

    Such an option is a folder, a file or the id of a repository on the hub, or empty. True says no more than
    that; an object may have the keys below.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    beside: tuple[str, ...] = ()
    """Patterns of what an empty option takes beside the folder that the option ``path`` names."""
    words: tuple[str, ...] = ()
    """Values that are no place."""
    revision: str = ""
    """The option with the revision of a repository."""
    named: bool = False
    """Whether the component goes by the folder's own name, so that it counts beside the content."""
    required: bool = False
    """Whether the component cannot work without one: a run where it is empty is refused at its start."""


@dataclass(frozen=True)
class OptionInfo:
    """One option as `silmm plugins show` prints it."""

    name: str
    type: str
    default: object
    """The default as JSON-able data."""
    unit: str
    paper: str
    description: str


@dataclass(frozen=True)
class Given:
    """A value that a user or a model gave, and where, for the error message."""

    value: object
    source: str
    """For example ``--set`` or ``settings.toml``."""
    text: bool = False
    """True for command-line text, which is read as the field's type."""


def describe(options: type[BaseModel]) -> list[OptionInfo]:
    """Return the options of a class in the order of its fields."""
    defaults = options().model_dump(mode="json")
    fields = options.model_fields.items()
    return [_describe_field(name, field, defaults[name]) for name, field in fields]


def _describe_field(name: str, field: FieldInfo, default: object) -> OptionInfo:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    return OptionInfo(
        name=name,
        type=type_name(field),
        default=default,
        unit=str(extra.get("unit", "")),
        paper=str(extra.get("paper", "")),
        description=field.description or "",
    )


def file_options(options: type[BaseModel]) -> list[str]:
    """Return the names of the options that are paths of input files."""
    extras = {name: field.json_schema_extra for name, field in options.model_fields.items()}
    return [name for name, extra in extras.items() if isinstance(extra, dict) and extra.get("file")]


def checkpoint_options(options: type[BaseModel]) -> dict[str, CheckpointMark]:
    """Return the options that name checkpoints, with what is said of them.

    Raises:
        ValueError: a mark is neither True nor an object with the keys of :class:`CheckpointMark`.
    """
    extras = {name: field.json_schema_extra for name, field in options.model_fields.items()}
    marks = {name: extra.get("checkpoint") for name, extra in extras.items() if isinstance(extra, dict)}
    return {name: _checkpoint_mark(name, mark) for name, mark in marks.items() if mark}


def _checkpoint_mark(name: str, mark: object) -> CheckpointMark:
    try:
        return CheckpointMark() if mark is True else CheckpointMark.model_validate(mark)
    except ValidationError as error:
        keys = ", ".join(CheckpointMark.model_fields)
        problem = error.errors()[0]
        raise ValueError(
            f"the mark 'checkpoint' of the option {name!r} is {mark!r}; it is True or an object with {keys} "
            f"({'.'.join(map(str, problem['loc']))}: {problem['msg']})"
        ) from None


def type_name(field: FieldInfo) -> str:
    """Return a field's type as a reader would write it, with its bounds: ``float, gt=0, le=1``."""
    annotation = field.annotation
    plain = isinstance(annotation, type) and not getattr(annotation, "__args__", None)
    name = annotation.__name__ if plain and annotation else str(annotation).replace("typing.", "")
    bounds = [str(bound) for bound in map(_bound, field.metadata) if bound]
    return ", ".join([name, *bounds])


def _bound(constraint: object) -> str:
    for key in ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern"):
        value = getattr(constraint, key, None)
        if value is not None:
            return f"{key}={value}"
    return ""


def complete(
    options: type[BaseModel], owner: str, entries: Mapping[str, Given]
) -> dict[str, Any]:
    """Return every option of a class as JSON-able data: its defaults under the given values.

    Args:
        options: The option class of the component.
        owner: What a message calls the component, for example ``sampler 'nucleus'``.
        entries: Field name to value; later layers must already have replaced earlier ones.

    Raises:
        UsageError: An unknown key (with a suggestion) or a value that the class refuses.
    """
    for key, entry in entries.items():
        if key not in options.model_fields:
            fields = options.model_fields
            raise UsageError(
                f"{owner} has no option {key!r} (given by {entry.source})"
                f"{did_you_mean(key, fields)} Its options: {listed(fields)}."
            )
    values = {key: _read(options, key, entry) for key, entry in entries.items()}
    try:
        return options.model_validate(values).model_dump(mode="json")
    except ValidationError as error:
        raise UsageError(_explain(options, owner, entries, error)) from None


def _read(options: type[BaseModel], key: str, entry: Given) -> object:
    """Return command-line text as the first reading that the field accepts, else as it stands."""
    if not (entry.text and isinstance(entry.value, str)):
        return entry.value
    text = entry.value
    readings: list[object] = [text]
    if text.lower() in ("none", "null"):
        readings.insert(0, None)
    with contextlib.suppress(tomllib.TOMLDecodeError):
        readings.append(tomllib.loads(f"value = {text}")["value"])
    return next((reading for reading in readings if _accepts(options, key, reading)), text)


def _accepts(options: type[BaseModel], key: str, value: object) -> bool:
    try:
        options.model_validate({key: value})
    except ValidationError as error:
        return not any(problem["loc"][:1] == (key,) for problem in error.errors())
    return True


def _explain(
    options: type[BaseModel], owner: str, entries: Mapping[str, Given], error: ValidationError
) -> str:
    lines = []
    for problem in error.errors():
        key = str(problem["loc"][0]) if problem["loc"] else ""
        if key in entries and key in options.model_fields:
            field = options.model_fields[key]
            lines.append(
                f"{owner}, option {key!r}: {entries[key].value!r} (from {entries[key].source}) is not "
                f"accepted: {problem['msg']}. It takes {type_name(field)}"
                f"{' [' + field.description + ']' if field.description else ''}."
            )
        else:
            named = ", ".join(
                f"{key}={entries[key].value!r} (from {entries[key].source})"
                for key in _blamed(options, entries, problem["msg"])
            )
            lines.append(f"{owner} does not accept {named or 'its values'}: {problem['msg']}.")
    return "\n".join(lines)


def _blamed(options: type[BaseModel], entries: Mapping[str, Given], message: str) -> list[str]:
    """Return the given options without which the class as a whole would not say `message`."""
    values = {key: _read(options, key, entry) for key, entry in entries.items()}
    blamed = []
    for key in entries:
        try:
            options.model_validate({name: value for name, value in values.items() if name != key})
        except ValidationError as error:
            if message in [problem["msg"] for problem in error.errors()]:
                continue
        blamed.append(key)
    return blamed


def split_assignment(text: str) -> tuple[str, str, str]:
    """Split ``sampler.top_p=0.9`` into ("sampler", "top_p", "0.9"); without a dot the kind is "".

    Raises:
        UsageError: The text has no ``=`` or no key.
    """
    key, equals, value = text.partition("=")
    kind, dot, field = key.strip().rpartition(".")
    if not equals or not field or (dot and not kind):
        raise UsageError(
            f"--set {text!r} is not KIND.OPTION=VALUE; write for example --set sampler.top_p=0.9"
        )
    return kind, field.replace("-", "_"), value.strip()


def canonical(data: object) -> str:
    """Return JSON text that is the same for equal data: sorted keys, no spaces, no NaN."""
    return json.dumps(
        data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
