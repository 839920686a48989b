"""`silmm leaderboard`: results beside each other, and beside the paper's."""

from __future__ import annotations

from pathlib import Path

import click

from silmm_cli.console import results


@click.command()
@click.argument("places", nargs=-1, required=True, metavar="RESULT…", type=click.Path(path_type=Path))
@click.option(
    "--format", "form", type=click.Choice(["rich", "md", "latex", "csv", "json", "html"]), default="rich",
    show_default=True, help="How it is written to stdout.",
)
@click.option("--details", is_flag=True, help="Also columns that the paper's table does not have.")
@click.option("--no-published", is_flag=True, help="Leave the paper's rows out.")
def leaderboard(*, places: tuple[Path, ...], form: str, details: bool, no_published: bool) -> None:
    """Rank results of `silmm bench` beside the paper's Table 1.

    RESULT is a result file or the folder that holds some. A subset, a partial result or one of another
    protocol stays in the table without a rank, with the reason.
    """
    from silmm.bench.leaderboard.ranking import boards
    from silmm.bench.leaderboard.results import find_results
    from silmm.bench.leaderboard.writing import FORMATS
    from silmm_cli.bench_view import print_boards

    found = boards(find_results(places), details=details, published=not no_published)
    if form == "rich":
        print_boards(found, results())
    else:
        click.echo(FORMATS[form](found), nl=False)
