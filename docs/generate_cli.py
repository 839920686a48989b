"""Writes docs/cli.md from the commands, errors and components themselves: ``python docs/generate_cli.py``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click
from click.testing import CliRunner

from silmm import errors
from silmm.contracts.options import OptionInfo, describe
from silmm.engine.component_options import FIELD_OF_KIND
from silmm.engine.settings import RunSettings
from silmm.registry.discovery import LOAD_VARIABLE, STRICT_VARIABLE
from silmm.registry.registry import KINDS, Entry, Registry
from silmm.storage.user_folders import DATA_VARIABLE
from silmm_cli import DEBUG_VARIABLE, INTERRUPTED, main

TARGET = Path(__file__).with_name("cli.md")
WIDTH = 80

HEAD = """\
# The command line

This page is generated: change the code, then run `python docs/generate_cli.py`. A test compares the two.

Results go to stdout, everything else (progress, warnings, errors) to stderr; `--json` prints one JSON object.
What `silmm run` leaves on disk is described in [concepts](concepts.md#the-run-directory).
"""
SETTINGS = """\
## Where a setting comes from

Later sources win:

1. the default of the option,
2. the defaults that the chosen base model is registered with (listed [below](#components) with the model),
3. the TOML file of `--config`,
4. flags and `--set`, in which `--set` wins over a flag and a later `--set` over an earlier one.

Where no source names the model, it is `tiny-discrete`, or, if a named component cannot work with that, the
first model that works with all named ones, embedded models first: `silmm run --sampler dropdiv` takes a
continuous one. A kernel among a model's defaults falls away with a trainer that takes none.

An unknown key is an error that names the nearest known one. The keys of `--set` and of the TOML file are the
same: settings of the run by their own name, options of a component as `KIND.OPTION`, where KIND is one of
{kinds}.

```toml
prompts = 64
iterations = 2

[sampler]
name = "nucleus"    # which component; may be left out
top_p = 0.9         # the same as --set sampler.top_p=0.9
```

The settings of a run:

"""
EXIT_CODES = """\
## Exit codes

| code | meaning | class of `silmm.errors` |
|---|---|---|
| 0 | done; with `--until`, done as far as asked | |
"""
ENVIRONMENT = f"""\
## Environment variables

| variable | effect |
|---|---|
| `{LOAD_VARIABLE}` | entry points or distributions to load, with commas; empty: none; unset: all |
| `{STRICT_VARIABLE}` | `1`: a broken plugin ends the command with the plugin's own error |
| `{DEBUG_VARIABLE}` | `1`: errors of silmm show their traceback |
| `{DATA_VARIABLE}` | folder of official data and judges' weights, where `--data-dir` names none |
| `NO_COLOR` | not empty: no colours |
"""


def generate() -> str:
    """Return the whole page, with the components that come with silmm and no others."""
    kept = os.environ.get(LOAD_VARIABLE)
    os.environ[LOAD_VARIABLE] = "silmm"
    try:
        return "\n".join([HEAD, *_help(), _settings(), _exit_codes(), ENVIRONMENT, *_components()])
    finally:
        if kept is None:
            del os.environ[LOAD_VARIABLE]
        else:
            os.environ[LOAD_VARIABLE] = kept


def _help() -> Iterator[str]:
    """Yield the help of each command, groups before their subcommands."""
    waiting: list[tuple[list[str], click.Command]] = [([], main)]
    while waiting:
        words, command = waiting.pop(0)
        result = CliRunner().invoke(
            main, [*words, "--help"], prog_name="silmm", terminal_width=WIDTH
        )
        name = " ".join(["silmm", *words])
        yield f"## `{name}`\n\n```text\n{result.stdout.rstrip()}\n```\n"
        if isinstance(command, click.Group):
            context = click.Context(command)
            inner = [(name, command.get_command(context, name))
                     for name in command.list_commands(context)]
            waiting[:0] = [([*words, name], subcommand) for name, subcommand in inner if subcommand is not None]


def _settings() -> str:
    kinds = ", ".join(f"`{kind}`" for kind in FIELD_OF_KIND)
    own = [option for option in describe(RunSettings) if option.name != "options"]
    return SETTINGS.format(kinds=kinds) + "\n".join(_table(own)) + "\n"


def _exit_codes() -> str:
    rows = []
    waiting: list[type[errors.SilmmError]] = [errors.SilmmError]
    while waiting:
        error = waiting.pop(0)
        waiting += error.__subclasses__()
        meaning = (error.__doc__ or "").splitlines()[0].removeprefix("Raised when ").rstrip(".")
        rows.append((error.exit_code, meaning, error.__name__))
    rows[0] = (1, "any other failure; for `silmm doctor`, a check failed", "SilmmError")
    lines = [f"| {code} | {meaning} | `{name}` |" for code, meaning, name in sorted(rows)]
    lines.append(f"| {INTERRUPTED} | interrupted by Ctrl-C; the same command goes on | |")
    return EXIT_CODES + "\n".join(lines) + "\n"


def _components() -> Iterator[str]:
    yield (
        "## Components\n\n`silmm plugins` lists what is installed, `silmm plugins show KIND NAME` "
        "prints one of\nthese tables. Option values are given with `--set KIND.OPTION=VALUE`.\n"
    )
    registry = Registry.load()
    for kind in KINDS:
        for entry in registry.entries(kind):
            yield _component(entry)


def _component(entry: Entry) -> str:
    facts = [entry.summary.rstrip(".") + "."]
    if entry.paper:
        facts.append(f"Source: {entry.paper}.")
    if entry.requires:
        facts.append(f"Needs {_code(sorted(entry.requires))} of the base model.")
    if entry.kind == "model":
        facts.append(f"A {entry.model_kind} model with {_code(sorted(entry.capabilities))}.")
    elif len(entry.kinds) == 1:
        facts.append(f"For {entry.kinds[0]} models.")
    lines = [f"### {entry.kind} `{entry.name}`", "", " ".join(facts), ""]
    if entry.defaults:
        lines += ["Settings that come with it:", "", "| setting | value |", "|---|---|"]
        lines += [f"| `{name}` | `{value!r}` |" for name, value in entry.defaults.items()]
        lines.append("")
    options = describe(entry.options)
    if options:
        lines += [*_table(options), ""]
    return "\n".join(lines)


def _table(options: list[OptionInfo]) -> list[str]:
    head = ["option", "type", "default", "unit", "paper", "meaning"]
    return [_row(head), "|" + "---|" * len(head), *(_row(_option(option)) for option in options)]


def _option(option: OptionInfo) -> list[str]:
    return [
        f"`{option.name}`", f"`{option.type}`", f"`{option.default!r}`",
        option.unit, option.paper, option.description,
    ]


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _code(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    TARGET.write_text(generate(), encoding="utf-8")
