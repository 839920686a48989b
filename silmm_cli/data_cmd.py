"""`silmm data`: fetch the official files of benchmarks and the weights of judges, and check what is here."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from silmm.errors import DataError
from silmm.registry.registry import Registry
from silmm.storage.data_sets import DATA_VARIABLE, DataSet, FileReport, data_root
from silmm.suggestions import listed
from silmm_cli.console import chatter, print_json, results, say

if TYPE_CHECKING:
    from rich.progress import TaskID

    from silmm.storage.data_sets import OfficialFile

WRONG = ("missing", "changed", "invalid")
COLOURS = {"missing": "yellow", "changed": "red", "invalid": "red"}
SHOWN = 20
"""Files of one data set that a table names one by one; more of one state become a count."""

_in_folder: Callable[[Any], Any] = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help=f"Folder of all data sets; ${DATA_VARIABLE}, else your user data folder, by default.",
)
_as_json: Callable[[Any], Any] = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on stdout."
)


@click.group()
def data() -> None:
    """Fetch official files of benchmarks and weights of judges, and check them."""


@data.command("list")
@_in_folder
@_as_json
def list_sets(data_dir: Path | None, as_json: bool) -> None:
    """List the data sets: licence, size, and whether they are here.

    \b
    --json prints {"folder", "sets": [{"name", "summary", "files", "here", "bytes",
    "licences"}]}; bytes is null where a home has not published a size.
    """
    root, registry = data_root(data_dir), Registry.load()
    rows = [_summary(root, registry, entry.name, entry.summary) for entry in registry.entries("data")]
    if as_json:
        print_json({"folder": str(root), "sets": rows})
        return
    table = Table("name", "here", "size", title=Text(f"data sets in {root}"))
    table.add_column("licence", overflow="fold")
    table.add_column("what it is", overflow="fold")
    for row in rows:
        here = f"{row['here']} of {row['files']} files"
        licences = dict.fromkeys(map(_brief, row["licences"]))
        cells = (row["name"], here, _size(row["bytes"]), "\n".join(licences), row["summary"])
        table.add_row(*map(Text, cells))
    results().print(table)
    say("licences are shortened here: `silmm data pull NAME` and --json have them in full")


@data.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@_in_folder
@_as_json
def pull(names: tuple[str, ...], data_dir: Path | None, as_json: bool) -> None:
    """Fetch the files of NAME... from their public homes, verified; a stopped pull goes on.

    Files that lie in the folder already are verified and not fetched. A file's hash that nobody has
    published is written down when the file first comes, and compared afterwards. Proxies come from
    the environment (https_proxy, no_proxy).

    \b
    Example: silmm data pull t2i-compbench tifa dpg-bench
    --json prints {"folder", "sets": {NAME: [{"name", "state", "detail"}]}}.
    """
    root, sets = data_root(data_dir), _sets(names)
    reports: dict[str, list[FileReport]] = {}
    for name, one in sets.items():
        for licence in _licences(one.files):
            say(f"{name}: licence: {licence}")
        with _progress(name, len(one.files)) as watch:
            reports[name] = one.pull(root / name, watch)
    _show(root, reports, as_json)


@data.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@_in_folder
@_as_json
@click.pass_context
def check(ctx: click.Context, names: tuple[str, ...], data_dir: Path | None, as_json: bool) -> None:
    """Verify the files of NAME..., or of all data sets that are here: hashes, counts, licences.

    Counts are compared with the specification by the benchmark's own loader. Nothing is written. The
    exit code is 4 when a file is missing or wrong.

    \b
    --json prints {"folder", "sets": {NAME: [{"name", "state", "detail"}]}}; state is ok,
    unrecorded (here, hash not published and not yet written down), missing, changed or
    invalid; the report with an empty name is that of the counts.
    """
    root = data_root(data_dir)
    known = [entry.name for entry in Registry.load().entries("data")]
    sets = _sets(names or tuple(name for name in known if (root / name).is_dir()))
    if not sets:
        raise DataError(f"no data set is in {root}; silmm data pull NAME fetches one of {listed(known)}")
    reports = {name: one.check(root / name) for name, one in sets.items()}
    _show(root, reports, as_json)
    for name, one in sets.items():
        for licence in _licences(one.files):
            say(f"{name}: licence: {licence}")
    if any(report.state in WRONG for told in reports.values() for report in told):
        ctx.exit(DataError.exit_code)


def _sets(names: Sequence[str]) -> dict[str, DataSet]:
    registry = Registry.load()
    return {name: registry.build("data", name, {}) for name in names}


def _summary(root: Path, registry: Registry, name: str, summary: str) -> dict[str, Any]:
    files = registry.build("data", name, {}).files
    sizes = [file.size for file in files]
    return {
        "name": name,
        "summary": summary,
        "files": len(files),
        "here": sum((root / name / file.name).is_file() for file in files),
        "bytes": None if None in sizes else sum(sizes),
        "licences": _licences(files),
    }


def _licences(files: Sequence[OfficialFile]) -> list[str]:
    return list(dict.fromkeys(file.licence for file in files))


def _brief(licence: str) -> str:
    """Return the first clause of a licence."""
    clause = re.split(r"[.;] ", licence, maxsplit=1)[0]
    return clause if clause == licence else f"{clause} …"


def _size(count: int | None) -> str:
    return "not published" if count is None else f"{count / 1e6:,.1f} MB"


def _show(root: Path, reports: dict[str, list[FileReport]], as_json: bool) -> None:
    if as_json:
        sets = {name: [asdict(report) for report in told] for name, told in reports.items()}
        print_json({"folder": str(root), "sets": sets})
        return
    table = Table("data set", "file", "state", "detail", title=f"{root}")
    for name, told in reports.items():
        for report in _condensed(told):
            colour = COLOURS.get(report.state, "green")
            cells = (Text(name), Text(report.name or "content"), Text(report.state, style=colour))
            table.add_row(*cells, Text(report.detail))
    results().print(table)


def _condensed(reports: list[FileReport]) -> Iterator[FileReport]:
    """Yield each report, or where there are many of one state, the first few and the count of the rest."""
    if len(reports) <= SHOWN:
        yield from reports
        return
    for state in dict.fromkeys(report.state for report in reports):
        same = [report for report in reports if report.state == state]
        shown = same if len(same) <= 2 else same[:3] if state in WRONG else []
        yield from shown
        if len(same) > len(shown):
            yield FileReport(f"{len(same) - len(shown)} {'more ' if shown else ''}files", state)


@contextmanager
def _progress(title: str, files: int) -> Iterator[Callable[[str, int, int | None], None]]:
    """Show the files that come at the moment; many threads may tell."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    lock = threading.Lock()
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, TransferSpeedColumn(), console=chatter(), transient=True) as bars:

        def watch(name: str, done: int, total: int | None) -> None:
            with lock:
                if name not in tasks:
                    tasks[name] = bars.add_task(f"{title}/{name} ({len(tasks) + 1} of {files})", total=total)
                bars.update(tasks[name], completed=done, total=total, visible=done != total)

        yield watch
