"""`silmm reproduce`: the paper's tables and figures, and what each of their rows would run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from silmm.reproduce.listing import EXPERIMENTS
from silmm_cli.console import chatter, print_json, print_line, results, say
from silmm_cli.options import json_option, out_option, set_option, workers_option

if TYPE_CHECKING:
    from rich.console import Console

    from silmm.reproduce.reproduction import Reproduction

_FAILED = 1
"""Exit code where a row failed and others did not."""


@click.command()
@click.argument("name", type=click.Choice(list(EXPERIMENTS)), required=False)
@click.option(
    "--model", metavar="NAME[:PATH]", help="Base model of every row; by default the embedded ones."
)
@click.option(
    "--benchmark", metavar="NAME", default="shapes", show_default=True, help="Evaluation before and after.",
)
@click.option(
    "--seeds", type=click.IntRange(1), default=1, show_default=True,
    help="Number of runs per row, with seeds 0, 1, …; the table shows their mean.",
)
@click.option("--prompts", metavar="FILE|N", help="Prompts of every row: a file, or the number of prompts to write.")
@set_option("Set an option in every row, such as trainer.max_steps=64; a row's own settings take precedence.")
@click.option("--quick", is_flag=True, help="Fewer prompts, steps and images; the result is marked.")
@out_option("Folder of the result and its runs; reproduce/NAME by default.")
@click.option(
    "--reuse", multiple=True, type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of another result whose finished stages may be reused. May be repeated; without --out the other "
    "folders in reproduce/ are reused.",
)
@workers_option
@click.option("--list", "only_list", is_flag=True, help="List the tables and figures, or the rows of NAME.")
@json_option
def reproduce(
    *,
    name: str | None,
    model: str | None,
    benchmark: str,
    seeds: int,
    prompts: str | None,
    sets: tuple[str, ...],
    quick: bool,
    out: Path | None,
    reuse: tuple[Path, ...],
    workers: int,
    only_list: bool,
    as_json: bool,
) -> None:
    """Reproduce the form of a table or figure of the paper.

    Every row is an ordinary run; stages that rows share run once. Stop it at any time: the same command resumes
    it. fig9 stands for figures 9-11.
    """
    from silmm.registry.component_path import split_component
    from silmm.registry.registry import Registry  # imported late, like the rest: the help needs none of it
    from silmm.reproduce.listing import list_experiments, list_rows
    from silmm.reproduce.row_settings import Request

    if name is None:
        if not only_list:
            raise click.UsageError("give the NAME of a table or figure; --list shows them all")
        listed = list_experiments()
        print_json(listed) if as_json else print_experiments(listed, results())
        return
    experiment = EXPERIMENTS[name]
    registry = Registry.load()
    if model:
        model, sets = split_component(registry, model, sets)
    request = Request(model, benchmark, prompts, sets, seeds, quick)
    if only_list:
        rows = list_rows(registry, experiment, request)
        print_json(rows) if as_json else print_rows(experiment.title, rows, results())
        return

    from silmm.reproduce.reproduction import others_beside, reproduce
    from silmm.reproduce.result_files import as_object, write_results
    from silmm_cli.display import make_display

    folder = out or Path("reproduce") / name
    with make_display(chatter()) as display:
        result = reproduce(
            experiment, request, folder, registry=registry, workers=workers,
            reuse=(*reuse, *(() if out else others_beside(folder))), observers=(display,), note=display.note,
        )
    files = write_results(result, folder)
    if as_json:
        print_json({**as_object(result), "files": [str(path) for path in files]})
    else:
        print_result(result, files, results())
    failed = [line.name for line in result.lines if line.plan.failed]
    if failed:
        say(f"error: these rows failed: {', '.join(failed)}; the same command tries them again")
        raise SystemExit(_FAILED)


def print_experiments(experiments: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print one line per table or figure."""
    from silmm.rendering.result_table import text_table
    from silmm.rendering.table_formats import to_rich

    rows = [
        [
            experiment["name"], experiment["title"], str(experiment["rows"]),
            ", ".join(experiment["models"]) + ("" if experiment["trains"] else " (no training)"),
        ]
        for experiment in experiments
    ]
    console.print(to_rich(text_table(["name", "title", "rows", "models"], rows, left=(0, 1, 3)), box="none"))


def print_rows(title: str, rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print what each row would run."""
    from silmm.rendering.result_table import NONE, Cell, text_table
    from silmm.rendering.table_formats import to_rich

    cells: list[list[Cell | str]] = []
    for row in rows:
        settings = " ".join(f"{name}={value}" for name, value in row["settings"].items())
        runs = Cell("\n".join(row["runs"]))
        if row["reason"]:
            runs = Cell(f"not possible: {row['reason']}", tone="quiet")
        cells.append([row["row"], row["model"], settings or NONE, runs])
    names = ["row", "model", "settings", "runs, or why there is none"]
    console.print(to_rich(text_table(names, cells, left=range(len(names)), title=title)))


def print_result(result: Reproduction, files: Sequence[Path], console: Console) -> None:
    """Print the table, its caption, its notes, how its order compares, and the paths of its files."""
    from silmm.rendering.table_formats import to_rich
    from silmm.reproduce.result_files import caption, order_sentence, result_table

    console.print(to_rich(result_table(result), row_lines=True))
    for status, names in result.without_numbers().items():
        print_line(console, f"{', '.join(names)}: {status}", "red", wrap=True)
    for text in (caption(result), *result.notes, *(f"{order_sentence(order)}." for order in result.orders)):
        print_line(console, text, "dim", wrap=True)
    for path in files:
        print_line(console, str(path))
