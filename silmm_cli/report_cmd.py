"""`silmm report RUN`: write the report of a run and say where it is."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write; RUN/report by default.",
)
def report(run: Path, out: Path | None) -> None:
    """Write the report of RUN: one folder that opens from disk."""
    from silmm.report import write_report  # imported late: brings pyarrow

    click.echo(str(write_report(run, out)))
