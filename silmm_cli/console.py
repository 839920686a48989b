"""Where text goes: results to stdout, all chatter to stderr; NO_COLOR is honoured by rich."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

WIDTH_OF_PIPES = 160
"""Columns of a table that is not shown on a terminal, so that pipes do not cut words."""


def results() -> Console:
    """Return the console for results (stdout)."""
    from rich.console import Console  # rich takes a while to import, and --help needs none of it

    return Console(width=None if sys.stdout.isatty() else WIDTH_OF_PIPES)


def chatter() -> Console:
    """Return the console for progress and notes (stderr)."""
    from rich.console import Console

    return Console(stderr=True)


def say(message: str) -> None:
    """Print one plain line of chatter to stderr."""
    click.echo(message, err=True)


def print_line(console: Console, text: str, style: str = "", *, wrap: bool = False) -> None:
    """Print a text as it is: no markup, no highlighting, and broken into lines only with `wrap`."""
    console.print(text, markup=False, highlight=False, style=style, soft_wrap=not wrap)


def print_check(console: Console, state: str, name: str, detail: str, width: int) -> None:
    """Print one line of a check: its state in colour, its name in `width` columns, its detail."""
    from rich.text import Text

    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    line = Text(f"{state:<5}", style=colours[state]) + Text(f"{name + ':':<{width}}{detail}")
    console.print(line, soft_wrap=True)


def print_json(data: object) -> None:
    """Print one JSON document to stdout."""
    from silmm.rendering.table_formats import json_text

    click.echo(json_text(data), nl=False)
