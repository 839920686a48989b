"""`silmm plugins`: what is installed, and `silmm plugins show KIND NAME`: one component in full."""

from __future__ import annotations

from dataclasses import asdict

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from silmm.contracts.options import OptionInfo, describe
from silmm.registry.discovery import BrokenPlugin
from silmm.registry.registry import KINDS, Entry, Registry, canonical_kind
from silmm_cli.console import print_json, results


@click.group(invoke_without_command=True)
@click.option("--kind", help=f"Only this kind: {', '.join(KINDS)}.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
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
    entries = [entry for one in kinds for entry in registry.entries(one)]
    if as_json:
        broken = [_broken_json(plugin) for plugin in registry.broken]
        print_json({"components": [_entry_json(entry) for entry in entries], "broken": broken})
    else:
        _print_list(results(), entries, registry.broken)


@plugins.command()
@click.argument("kind")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
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
    table = _table("kind", "name", "summary", "distribution", "version")
    for entry in entries:
        row = (entry.kind, entry.name, entry.summary, entry.distribution, entry.version)
        table.add_row(*map(Text, row))
    for plugin in broken:
        origin = plugin.origin
        row = ("broken", origin.name, plugin.reason, origin.distribution, origin.version)
        table.add_row(*map(Text, row), style="red")
    console.print(table)
    if not entries and not broken:
        console.print("no components: no plugin is installed, or SILMM_LOAD_PLUGINS picks none")


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
    console.print(Text(f"{entry.kind} {entry.name}", style="bold"))
    for name, value in facts.items():
        if value:
            console.print(Text(f"  {name + ':':<14}{value}"))
    if not options:
        console.print("  no options")
        return
    table = _table("option", "type", "default", "unit", "paper", "description")
    for option in options:
        row = (option.name, option.type, option.default, option.unit, option.paper)
        table.add_row(*(Text(str(cell)) for cell in (*row, option.description)))
    console.print(table)


def _half_line(half: Entry) -> str:
    own = ", ".join(half.options.model_fields) or "none"
    place = f" ({half.paper})" if half.paper else ""
    return f"{half.name} from {half.distribution} {half.version}{place}; options: {own}"


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in columns:
        # A name that is cut cannot be copied into a command; a summary may wrap.
        table.add_column(column, overflow="fold", no_wrap=column in ("kind", "name", "option"))
    return table
