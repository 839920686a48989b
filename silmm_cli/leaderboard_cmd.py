"""`silmm leaderboard`: results side by side, and above them the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from silmm_cli.console import print_line, results

if TYPE_CHECKING:
    from rich.console import Console

    from silmm.bench.leaderboard.ranking import Board
    from silmm.rendering.result_table import ResultTable

NUMBER_WIDTH = 9
"""Characters on the screen of a number of a leaderboard, with its interval below it."""
RANK_WIDTH = 5
PADDING = 2


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="RESULT…", type=click.Path(path_type=Path))
@click.option(
    "--format", "form", type=click.Choice(["rich", "md", "latex", "csv", "json", "html"]), default="rich",
    show_default=True, help="Format of the output on stdout.",
)
@click.option("--details", is_flag=True, help="Show also columns that the paper's table does not have.")
@click.option("--no-published", is_flag=True, help="Leave out the paper's rows.")
def leaderboard(*, paths: tuple[Path, ...], form: str, details: bool, no_published: bool) -> None:
    """Rank results of `silmm bench` beside the paper's Table 1.

    RESULT is a result file or a folder of result files. A subset, a partial result or one of another protocol
    stays in the table without a rank, with the reason.
    """
    from silmm.bench.leaderboard.board_formats import FORMATS
    from silmm.bench.leaderboard.ranking import boards
    from silmm.bench.leaderboard.results import find_results

    ranked = boards(find_results(paths), details=details, published=not no_published)
    if form == "rich":
        print_boards(ranked, results())
    else:
        click.echo(FORMATS[form](ranked), nl=False)


def print_boards(boards: Sequence[Board], console: Console) -> None:
    """Print the leaderboards with their notes; columns that do not fit the screen go to further tables."""
    from silmm.rendering.table_formats import to_rich

    for board in boards:
        tables = board_tables(board, console.width)
        print_line(console, tables[0].title, "bold", wrap=True)
        for table in tables:
            console.print(to_rich(replace(table, title=""), box="head"))
        for note in tables[0].notes:
            print_line(console, note, "dim", wrap=True)


def board_tables(board: Board, width: int) -> list[ResultTable]:
    """Return a board as tables that fit into `width`, with about as many columns each."""
    from silmm.bench.leaderboard.board_formats import board_table

    longest = max([len(line.name) for line in board.lines] + [len("model")])
    name_width = min(longest, max(12, width // 4))
    most = max(1, (width - name_width - RANK_WIDTH - 2 * PADDING) // (NUMBER_WIDTH + PADDING))
    count = -(-len(board.columns) // most) or 1
    size = -(-len(board.columns) // count)
    parts = [board.columns[start : start + size] for start in range(0, len(board.columns), size)] or [()]
    widths = [RANK_WIDTH, name_width]
    return [
        replace(table, columns=tuple(
            replace(column, width=widths[index] if index < len(widths) else NUMBER_WIDTH)
            for index, column in enumerate(table.columns)
        ))
        for table in (board_table(board, part) for part in parts)
    ]
