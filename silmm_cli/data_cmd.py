"""`silmm data`: fetch the official files of benchmarks and the weights of judges, and check them."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from silmm.errors import DataError
from silmm.registry.registry import Registry
from silmm.rendering.result_table import Cell, Tone, text_table
from silmm.rendering.table_formats import to_rich
from silmm.storage.data_sets import DataSet, FileReport
from silmm.storage.user_folders import data_root
from silmm.suggestions import listed
from silmm_cli.console import chatter, print_json, results, say
from silmm_cli.options import data_dir_option, json_option

if TYPE_CHECKING:
    from rich.progress import TaskID

    from silmm.storage.data_sets import OfficialFile

FAULTS: dict[str, Tone] = {"missing": "warning", "changed": "worse", "invalid": "worse"}
"""States that make a check fail, and how a table shows them."""
SHOWN = 20
"""Files of one data set that a table lists one by one; more of one state become a count."""


@click.group()
def data() -> None:
    """Fetch official files of benchmarks and weights of judges, and check them."""


@data.command("list")
@data_dir_option
@json_option
def list_sets(data_dir: Path | None, as_json: bool) -> None:
    """List the data sets: licence, size, and the number of files that are present.

    \b
    --json prints {"folder", "sets": [{"name", "summary", "files", "here", "bytes",
    "licences"}]}; bytes is null where a size is not published.
    """
    root, registry = data_root(data_dir), Registry.load()
    sets = [_summary(root, registry, entry.name, entry.summary) for entry in registry.entries("data")]
    if as_json:
        print_json({"folder": str(root), "sets": sets})
        return
    rows = []
    for row in sets:
        present = f"{row['here']} of {row['files']} files"
        licences = dict.fromkeys(map(_brief, row["licences"]))
        rows.append((row["name"], present, _size(row["bytes"]), "\n".join(licences), row["summary"]))
    names = ("name", "present", "size", "licence", "summary")
    results().print(to_rich(text_table(names, rows, left=range(5), title=f"data sets in {root}")))
    say("licences are shortened here: `silmm data pull NAME` and --json print them in full")


@data.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@data_dir_option
@json_option
def pull(names: tuple[str, ...], data_dir: Path | None, as_json: bool) -> None:
    """Fetch the files of NAME... from their public addresses, verified; a stopped pull is resumed.

    Files that are in the folder already are verified and not fetched. The hash of a file without a published hash
    is recorded when the file first comes, and compared afterwards. Proxies come from the environment (https_proxy,
    no_proxy); files of the Hugging Face Hub obey HF_ENDPOINT and HF_TOKEN and are copied from its cache if present.

    \b
    Example: silmm data pull t2i-compbench tifa dpg-bench
    --json prints {"folder", "sets": {NAME: [{"name", "state", "detail"}]}}.
    """
    root, sets = data_root(data_dir), _sets(names)
    reports: dict[str, list[FileReport]] = {}
    for name, data_set in sets.items():
        _say_licences(name, data_set)
        with _progress(name, len(data_set.files)) as watch:
            reports[name] = data_set.pull(root / name, watch)
    _show(root, reports, as_json)


@data.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@data_dir_option
@json_option
@click.pass_context
def check(ctx: click.Context, names: tuple[str, ...], data_dir: Path | None, as_json: bool) -> None:
    """Verify the files of NAME..., or of all data sets that are present: hashes, counts, licences.

    The benchmark's own loader compares the counts with the specification. Nothing is written. The exit code is 4
    when a file is missing or wrong.

    \b
    --json prints {"folder", "sets": {NAME: [{"name", "state", "detail"}]}}; state is ok,
    unrecorded (present, without a published or recorded hash), missing, changed or
    invalid; the report with an empty name is that of the counts.
    """
    root = data_root(data_dir)
    registered = [entry.name for entry in Registry.load().entries("data")]
    sets = _sets(names or tuple(name for name in registered if (root / name).is_dir()))
    if not sets:
        raise DataError(f"no data set is in {root}; silmm data pull NAME fetches one of {listed(registered)}")
    reports = {name: data_set.check(root / name) for name, data_set in sets.items()}
    _show(root, reports, as_json)
    for name, data_set in sets.items():
        _say_licences(name, data_set)
    if any(report.state in FAULTS for set_reports in reports.values() for report in set_reports):
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


def _say_licences(name: str, data_set: DataSet) -> None:
    for licence in _licences(data_set.files):
        say(f"{name}: licence: {licence}")


def _brief(licence: str) -> str:
    """Return the first clause of a licence."""
    clause = re.split(r"[.;] ", licence, maxsplit=1)[0]
    return clause if clause == licence else f"{clause} …"


def _size(count: int | None) -> str:
    return "not published" if count is None else f"{count / 1e6:,.1f} MB"


def _show(root: Path, reports: dict[str, list[FileReport]], as_json: bool) -> None:
    if as_json:
        sets = {name: [asdict(report) for report in set_reports] for name, set_reports in reports.items()}
        print_json({"folder": str(root), "sets": sets})
        return
    rows = [
        (name, report.name or "content", Cell(report.state, tone=FAULTS.get(report.state, "better")), report.detail)
        for name, set_reports in reports.items() for report in _condensed(set_reports)
    ]
    results().print(to_rich(text_table(("data set", "file", "state", "detail"), rows, left=range(4), title=str(root))))


def _condensed(reports: list[FileReport]) -> Iterator[FileReport]:
    """Yield each report, or where many have one state, the first few and the number of the others."""
    if len(reports) <= SHOWN:
        yield from reports
        return
    for state in dict.fromkeys(report.state for report in reports):
        same = [report for report in reports if report.state == state]
        shown = same if len(same) <= 2 else same[:3] if state in FAULTS else []
        yield from shown
        if len(same) > len(shown):
            yield FileReport(f"{len(same) - len(shown)} {'more ' if shown else ''}files", state)


@contextmanager
def _progress(title: str, files: int) -> Iterator[Callable[[str, int, int | None], None]]:
    """Show the files that are being fetched; many threads may report."""
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
