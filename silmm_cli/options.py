"""Options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import click

from silmm.errors import UsageError
from silmm.storage.user_folders import DATA_VARIABLE

Decorator: TypeAlias = Callable[[Any], Any]
_SHARD = re.compile(r"(\d+)/(\d+)")

json_option: Decorator = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document to stdout."
)
data_dir_option: Decorator = click.option(
    "--data-dir", type=click.Path(path_type=Path, file_okay=False),
    help=f"Folder of all data sets; by default ${DATA_VARIABLE}, else your user data folder.",
)
workers_option: Decorator = click.option(
    "--workers", type=click.IntRange(1), default=1, show_default=True,
    help="Number of processes that share the work; the result does not depend on it.",
)


def set_option(text: str) -> Decorator:
    """Return the option ``--set KIND.OPTION=VALUE``; `text` completes its help."""
    return click.option("--set", "sets", multiple=True, metavar="KIND.OPTION=VALUE", help=f"{text} May be repeated.")


def out_option(text: str) -> Decorator:
    """Return the option ``--out`` for a folder."""
    return click.option("--out", type=click.Path(path_type=Path, file_okay=False), help=text)


def shard_option(what: str) -> Decorator:
    """Return the option ``--shard I/N``; `what` is the unit that is shared out."""
    return click.option(
        "--shard", metavar="I/N", callback=lambda _ctx, _param, text: parse_shard(text),
        help=f"Do only every N-th {what}, starting with the I-th (0-based).",
    )


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """Read ``i/n`` with 0 <= i < n.

    Raises:
        UsageError: the text is something else.
    """
    if text is None:
        return None
    match = _SHARD.fullmatch(text)
    if match is None or not int(match[1]) < int(match[2]):
        raise UsageError(f"--shard {text!r} is not I/N with 0 <= I < N; the first of four is 0/4")
    return int(match[1]), int(match[2])
