"""`silmm plugins`: the installed components, and `silmm plugins show KIND NAME`: one of them in full."""

from __future__ import annotations

from dataclasses import asdict

import click
from rich.console import Console

from silmm.contracts.options import OptionInfo, describe
from silmm.registry.discovery import BrokenPlugin
from silmm.registry.registry import KINDS, Entry, Registry, canonical_kind
from silmm.rendering.result_table import Column, ResultTable, Row, row
from silmm.rendering.table_formats import to_rich
from silmm_cli.console import print_json, print_line, results
from silmm_cli.options import json_option


@click.group(invoke_without_command=True)
@click.option("--kind", help=f"Only this kind: {', '.join(KINDS)}.")
@json_option
@click.pass_context
def plugins(ctx: click.Context, kind: str | None, as_json: bool) -> None:
    """List the installed components, or show one.

    \b
    --json prints {"components": [...], "broken": [...]}. A component has kind, name,
    summary, distribution, version, paper, model_kinds, requires and needs; a model
    has model_kind, capabilities and defaults too; a kernel has aggregation and
    distance, each with name, distribution, version, paper and options (their names),
    and problem, empty where the two go together. A broken plugin has name, value,
    distribution, version, reason and traceback. Keys are added, never renamed.
    """
    if ctx.invoked_subcommand is not None:
        return
    kinds = (canonical_kind(kind),) if kind else KINDS
    registry = Registry.load()
    entries = [entry for name in kinds for entry in registry.entries(name)]
    if as_json:
        broken = [_broken_json(plugin) for plugin in registry.broken]
        print_json({"components": [_entry_json(entry) for entry in entries], "broken": broken})
    else:
        _print_list(results(), entries, registry.broken)


@plugins.command()
@click.argument("kind")
@click.argument("name")
@json_option
def show(kind: str, name: str, as_json: bool) -> None:
    """Show the component NAME of KIND: its options, needs and origin.

    \b
    Example: silmm plugins show sampler nucleus
    --json prints the component as in the list, with "options": name, type, default,
    unit, paper and description of each.
    """
    entry = Registry.load().entry(kind, name)
    options = describe(entry.options)
    if as_json:
        print_json(_entry_json(entry) | {"options": [asdict(option) for option in options]})
    else:
        _print_entry(results(), entry, options)


def _entry_json(entry: Entry) -> dict[str, object]:
    data: dict[str, object] = {
        "kind": entry.kind,
        "name": entry.name,
        "summary": entry.summary,
        "distribution": entry.distribution,
        "version": entry.version,
        "paper": entry.paper,
        "model_kinds": list(entry.kinds),
        "requires": sorted(entry.requires),
        "needs": sorted(entry.needs),
    }
    if entry.kind == "model":
        data |= {
            "model_kind": entry.model_kind,
            "capabilities": sorted(entry.capabilities),
            "defaults": dict(entry.defaults),
        }
    data |= {half.kind: _half_json(half) for half in entry.halves}
    if entry.halves:
        data["problem"] = entry.problem
    return data


def _half_json(half: Entry) -> dict[str, object]:
    return {
        "name": half.name,
        "distribution": half.distribution,
        "version": half.version,
        "paper": half.paper,
        "options": list(half.options.model_fields),
    }


def _broken_json(plugin: BrokenPlugin) -> dict[str, object]:
    return asdict(plugin.origin) | {"reason": plugin.reason, "traceback": plugin.traceback}


def _print_list(
    console: Console, entries: list[Entry], broken: tuple[BrokenPlugin, ...]
) -> None:
    rows = [row(entry.kind, entry.name, entry.summary, entry.distribution, entry.version) for entry in entries]
    for plugin in broken:
        origin = plugin.origin
        cells = ("broken", origin.name, plugin.reason, origin.distribution, origin.version)
        rows.append(row(*cells, style="warning"))
    console.print(to_rich(_table(("kind", "name", "summary", "distribution", "version"), rows), box="simple"))
    if not entries and not broken:
        console.print("no components: no plugin is installed, or SILMM_LOAD_PLUGINS selects none")


def _print_entry(console: Console, entry: Entry, options: list[OptionInfo]) -> None:
    facts = {
        "summary": entry.summary,
        "paper": entry.paper,
        "from": f"{entry.distribution} {entry.version}",
        "model kind": entry.model_kind or "",
        "capabilities": ", ".join(sorted(entry.capabilities)),
        "works with": "" if entry.kind == "model" else f"{' and '.join(entry.kinds)} models",
        "requires": ", ".join(sorted(entry.requires)),
        "needs": ", ".join(sorted(entry.needs)),
        "defaults": ", ".join(f"{key}={value}" for key, value in entry.defaults.items()),
    }
    facts |= {half.kind: _half_line(half) for half in entry.halves}
    print_line(console, f"{entry.kind} {entry.name}", "bold")
    for name, value in facts.items():
        if value:
            print_line(console, f"  {name + ':':<14}{value}", wrap=True)
    if not options:
        print_line(console, "  no options")
        return
    rows = [
        row(option.name, option.type, str(option.default), option.unit, option.paper, option.description)
        for option in options
    ]
    console.print(to_rich(_table(("option", "type", "default", "unit", "paper", "description"), rows), box="simple"))


def _half_line(half: Entry) -> str:
    options = ", ".join(half.options.model_fields) or "none"
    paper = f" ({half.paper})" if half.paper else ""
    return f"{half.name} from {half.distribution} {half.version}{paper}; options: {options}"


def _table(names: tuple[str, ...], rows: list[Row]) -> ResultTable:
    whole = ("kind", "name", "option")  # a name that is cut cannot be copied into a command; a summary may wrap
    return ResultTable(tuple(Column(name, "left", wrap=name not in whole) for name in names), tuple(rows))
