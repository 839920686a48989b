"""`silmm reproduce`: from flags to a request, from the result to a table on the screen."""

from __future__ import annotations

from pathlib import Path

import click

from silmm.registry.component_path import split_component
from silmm.reproduce.catalog import EXPERIMENTS
from silmm_cli.console import chatter, print_json, results, say

_FAILED = 1
"""Exit code where a row failed and others did not."""


@click.command()
@click.argument("name", type=click.Choice(list(EXPERIMENTS)), required=False)
@click.option(
    "--model", metavar="NAME[:PATH]", help="Base model of every row; by default the embedded ones."
)
@click.option(
    "--benchmark", metavar="NAME", default="shapes", show_default=True,
    help="Evaluation before and after.",
)
@click.option(
    "--seeds", type=click.IntRange(1), default=1, show_default=True,
    help="Runs of each row with seeds 0, 1, …; shown is their mean.",
)
@click.option("--prompts", metavar="FILE|N", help="Prompts of every row: a file, or how many to write.")
@click.option(
    "--set", "sets", multiple=True, metavar="KIND.OPTION=VALUE",
    help="Set an option in every row, as trainer.max_steps=64; may be repeated. A row's own settings win.",
)
@click.option("--quick", is_flag=True, help="Fewer prompts, steps and images; says so in the result.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the result and its runs; reproduce/NAME by default.",
)
@click.option(
    "--reuse", multiple=True, type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of another result whose finished stages may be taken over; may be repeated. Without "
    "--out the other folders in reproduce/ are.",
)
@click.option(
    "--workers", type=click.IntRange(1), default=1, show_default=True,
    help="Processes that share the work; the result does not depend on it.",
)
@click.option("--list", "only_list", is_flag=True, help="List the tables and figures, or the rows of NAME.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
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

    Every row is an ordinary run; what rows share is made once. Stop it at any time: the same command goes
    on. fig9 stands for figures 9-11.
    """
    from silmm.registry.registry import Registry  # imported late, like the rest: the help needs none of it
    from silmm.reproduce.listing import list_experiments, list_rows
    from silmm.reproduce.resolving import Request
    from silmm_cli.reproduce_view import print_experiments, print_rows

    if name is None:
        if not only_list:
            raise click.UsageError("give the NAME of a table or figure; --list shows them all")
        found = list_experiments()
        print_json(found) if as_json else print_experiments(found, results())
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
    from silmm.reproduce.writing import as_object, write_results
    from silmm_cli.display import make_display
    from silmm_cli.reproduce_view import print_result

    home = out or Path("reproduce") / name
    with make_display(chatter()) as display:
        result = reproduce(
            experiment, request, home, registry=registry, workers=workers,
            reuse=(*reuse, *(() if out else others_beside(home))), observers=(display,), note=display.note,
        )
    files = write_results(result, home)
    if as_json:
        print_json({**as_object(result), "files": [str(path) for path in files]})
    else:
        print_result(result, files, results())
    failed = [line.name for line in result.lines if line.plan.failed]
    if failed:
        say(f"error: these rows failed: {', '.join(failed)}; the same command tries them again")
        raise SystemExit(_FAILED)
