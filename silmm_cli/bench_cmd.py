"""`silmm bench`: from flags to a request for each benchmark, from results to a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from silmm.errors import Incomplete, UsageError
from silmm_cli.console import chatter, print_json, results
from silmm_cli.options import data_dir_option, json_option, out_option, set_option, shard_option

DEFAULT = "score"


class DefaultGroup(click.Group):
    """A group in which the name of the command `score` may be left out."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `score` in front of what is neither a command nor the group's own help."""
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


@click.group(cls=DefaultGroup, no_args_is_help=True)
def bench() -> None:
    """Score images on benchmarks, and compare results.

    \b
    silmm bench t2i-compbench tifa dpg-bench --images DIR
    is short for `silmm bench score …`.
    """


@bench.command()
@click.argument("benchmarks", nargs=-1, required=True, metavar="BENCHMARK…")
@click.option(
    "--model", metavar="NAME[:DIR]",
    help="The generator: a base model, diffusers:ID|DIR, openai-images:MODEL.",
)
@click.option(
    "--images", type=click.Path(path_type=Path),
    help="Existing images in the benchmark's official layout; where several benchmarks are scored, a folder with "
    "one folder per benchmark.",
)
@click.option("--name", default="", help="The model's name in tables; by default that of --model or --images.")
@click.option("--categories", metavar="A,B,…", help="Only these categories of the benchmark.")
@click.option("--limit", type=click.IntRange(1), help="About this many prompts only; marks the result.")
@shard_option("block of prompts")
@click.option(
    "--mode", type=click.Choice(["official", "fixed"]), default="official", show_default=True,
    help="The official scripts' numbers, or those with their known errors repaired.",
)
@click.option(
    "--judge", "judges", multiple=True, metavar="ROLE=NAME[:PATH]",
    help="Another judge, or its weights; NAME none leaves the role and its columns empty.",
)
@data_dir_option
@out_option("Folder of answers, images and results; bench/NAME by default.")
@click.option(
    "--allow-missing", is_flag=True, help="Score the images that exist; marks the result as partial."
)
@click.option(
    "--until", type=click.Choice(["generate", "judge"]), help="Stop after this stage."
)
@click.option(
    "--canaries", type=click.Choice(["stop", "warn", "off"]), default="stop", show_default=True,
    help="What happens when a judge fails questions whose answers are known.",
)
@click.option(
    "--one-judge", is_flag=True,
    help="Keep one judge in memory at a time, where all of them do not fit.",
)
@set_option(
    "Set an option of a judge by its role, of the generator, or of a benchmark by its name: yes-no.batch_size=8, "
    "generator.steps=30, dpg-bench.images=1."
)
@click.option(
    "--official-files", is_flag=True,
    help="Write also the files that the official scripts write, beside the result.",
)
@click.option(
    "--dry-run", is_flag=True, help="Count prompts, images and questions; sample, open and ask nothing."
)
@click.option("--details", is_flag=True, help="Show also columns that the paper's table does not have.")
@json_option
def score(
    *,
    benchmarks: tuple[str, ...],
    categories: str | None,
    shard: tuple[int, int] | None,
    judges: tuple[str, ...],
    data_dir: Path | None,
    out: Path | None,
    sets: tuple[str, ...],
    details: bool,
    as_json: bool,
    **flags: Any,  # fields of BenchRequest by their own names
) -> None:
    """Score a model or a folder of images.

    Stop it at any time: the same command goes on. Judges' answers are stored by content, so that another
    --mode is applied without asking again.
    """
    from silmm.bench.bench_request import BenchRequest
    from silmm.bench.score_benchmarks import default_out, parse_sets, score_benchmarks
    from silmm.registry.registry import Registry
    from silmm_cli.bench_view import print_scores, score_object
    from silmm_cli.display import make_display

    request = BenchRequest(
        out=out or default_out(flags["model"], flags["images"]),
        data=data_dir,
        categories=tuple(name for name in (categories or "").split(",") if name),
        shard=shard,
        judges=parse_judges(judges),
        sets=parse_sets(sets),
        **flags,
    )
    with make_display(chatter()) as display:
        scores = score_benchmarks(
            benchmarks, request, registry=Registry.load(), progress=display.progress, note=display.note
        )
    if as_json:
        print_json(score_object(scores.results, request.out))
    else:
        print_scores(scores.results, request.out, results(), details=details)
    if scores.waiting:
        raise Incomplete("\n".join(scores.waiting))


@bench.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@json_option
def compare(first: Path, second: Path, as_json: bool) -> None:
    """Compare two results prompt by prompt: SECOND minus FIRST, with intervals."""
    from silmm.bench.leaderboard.comparing import compare_results
    from silmm.bench.leaderboard.results import find_results
    from silmm_cli.bench_view import comparison_object, print_comparison

    comparisons = compare_results(find_results([first]), find_results([second]))
    if as_json:
        print_json([comparison_object(comparison) for comparison in comparisons])
    else:
        print_comparison(comparisons, results())


def parse_judges(judges: Sequence[str]) -> dict[str, str]:
    """Read ``ROLE=NAME[:PATH]`` texts.

    Raises:
        UsageError: a text is something else, or a role is given twice.
    """
    by_role: dict[str, str] = {}
    for text in judges:
        role, equals, spec = text.partition("=")
        if not (role and equals and spec):
            raise UsageError(
                f"--judge {text!r} is not ROLE=NAME[:PATH]; write for example --judge vqa=blip-vqa-base"
            )
        if role in by_role:
            raise UsageError(f"--judge gives the role {role!r} twice; leave one out")
        by_role[role] = spec
    return by_role
