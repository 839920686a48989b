"""`silmm bench`: from flags to a request for each benchmark, from results to a table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from silmm.errors import Incomplete, UsageError
from silmm.suggestions import did_you_mean, listed
from silmm_cli.console import chatter, print_json, results
from silmm_cli.run_cmd import parse_shard

if TYPE_CHECKING:
    from silmm.bench.bench_request import BenchRequest
    from silmm.contracts.benchmarks import Benchmark
    from silmm.registry.registry import Registry

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
@click.option("--shard", metavar="I/N", help="Do only every N-th block of prompts, from the I-th (0-based).")
@click.option(
    "--mode", type=click.Choice(["official", "fixed"]), default="official", show_default=True,
    help="The official scripts' numbers, or those with their known errors repaired.",
)
@click.option(
    "--judge", "judges", multiple=True, metavar="ROLE=NAME[:PATH]",
    help="Another judge, or its weights; NAME none leaves the role and its columns empty.",
)
@click.option(
    "--data-dir", type=click.Path(path_type=Path, file_okay=False),
    help="Folder of all data sets; $SILMM_DATA, else your user data folder, by default.",
)
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False),
    help="Where answers, images and results go; bench/NAME by default.",
)
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
@click.option(
    "--set", "sets", multiple=True, metavar="KIND.OPTION=VALUE",
    help="Set an option of a judge by its role, of the generator, or of a benchmark by its name: "
    "yes-no.batch=8, generator.steps=30, dpg-bench.images=1. May be repeated.",
)
@click.option(
    "--official-files", is_flag=True,
    help="Write also the files that the official scripts write, beside the result.",
)
@click.option(
    "--dry-run", is_flag=True, help="Count prompts, images and questions; sample, open and ask nothing."
)
@click.option("--details", is_flag=True, help="Show also columns that the paper's table does not have.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
def score(
    *,
    benchmarks: tuple[str, ...],
    categories: str | None,
    shard: str | None,
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
    from silmm.bench.leaderboard.results import read_result
    from silmm.bench.runner import run_bench
    from silmm.registry.registry import Registry
    from silmm_cli.bench_view import print_scores, score_object
    from silmm_cli.display import make_display

    registry = Registry.load()
    options = parse_sets(sets)
    built = [_build(registry, name, options.get(name, {})) for name in dict.fromkeys(benchmarks)]
    _check_kinds(options, built)
    request = BenchRequest(
        out=out or default_out(flags["model"], flags["images"]),
        data=data_dir,
        categories=tuple(name for name in (categories or "").split(",") if name),
        shard=parse_shard(shard),
        judges=parse_judges(judges),
        sets=options,
        **flags,
    )
    scored, incomplete = [], []
    with make_display(chatter()) as display:
        for benchmark in built:
            try:
                path = run_bench(
                    benchmark, _request_of(request, benchmark.name, several=len(built) > 1), registry=registry,
                    progress=display.progress, note=display.note,
                )
            except Incomplete as error:  # the other benchmarks have work for this shard too
                incomplete.append(str(error))
                continue
            if path is not None:
                scored.append(read_result(path))
    if as_json:
        print_json(score_object(scored, request.out))
    else:
        print_scores(scored, request.out, results(), details=details)
    if incomplete:
        raise Incomplete("\n".join(incomplete))


@bench.command()
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
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


def _build(registry: Registry, name: str, options: Mapping[str, str]) -> Benchmark:
    from silmm.bench.runner import build_benchmark
    from silmm.contracts.benchmarks import BenchmarkOptions
    from silmm.contracts.options import Given, complete

    entry = registry.entry("benchmark", name)
    for key in options:
        if key in BenchmarkOptions.model_fields:
            raise UsageError(
                f"--set {name}.{key}: this option is for silmm run --benchmark {name}. Here write --judge, --mode, "
                f"--canaries, --set ROLE.OPTION=VALUE, or --set generator.{key}=…"
            )
    texts = {key: Given(value, f"--set {name}.{key}", text=True) for key, value in options.items()}
    return build_benchmark(registry, name, complete(entry.options, f"benchmark {name!r}", texts))


def _request_of(request: BenchRequest, name: str, *, several: bool) -> BenchRequest:
    """Return the request of one benchmark; several share a folder of images by their names."""
    from dataclasses import replace

    if not several or request.images is None:
        return request
    inside = request.images / name
    for candidate in (inside, inside.with_suffix(".json")):
        if candidate.exists():
            return replace(request, images=candidate, name=request.name or str(request.images))
    raise UsageError(
        f"--images {request.images} has no folder {name}: with several benchmarks each has its own folder "
        "there, named after the benchmark (or NAME.json for an index of files)"
    )


def _check_kinds(options: Mapping[str, Any], benchmarks: Sequence[Benchmark]) -> None:
    from silmm.bench.runner import set_kinds

    kinds = {kind for benchmark in benchmarks for kind in (benchmark.name, *set_kinds(benchmark))}
    for kind in options:
        if kind not in kinds:
            raise UsageError(
                f"--set {kind}.…: there is no such kind here{did_you_mean(kind, kinds)} Kinds: {listed(kinds)}."
            )


def parse_sets(sets: Sequence[str]) -> dict[str, dict[str, str]]:
    """Read ``KIND.OPTION=VALUE`` texts; later ones win.

    Raises:
        UsageError: a text has no kind, option or value.
    """
    from silmm.contracts.options import split_assignment

    options: dict[str, dict[str, str]] = {}
    for text in sets:
        kind, option, value = split_assignment(text)
        if not kind:
            raise UsageError(f"--set {text!r} names no kind; write for example --set generator.steps=30")
        options.setdefault(kind, {})[option] = value
    return options


def parse_judges(judges: Sequence[str]) -> dict[str, str]:
    """Read ``ROLE=NAME[:PATH]`` texts.

    Raises:
        UsageError: a text is something else, or a role is given twice.
    """
    chosen: dict[str, str] = {}
    for text in judges:
        role, equals, spec = text.partition("=")
        if not (role and equals and spec):
            raise UsageError(
                f"--judge {text!r} is not ROLE=NAME[:PATH]; write for example --judge vqa=blip-vqa-base"
            )
        if role in chosen:
            raise UsageError(f"--judge gives the role {role!r} twice; leave one out")
        chosen[role] = spec
    return chosen


def default_out(model: str | None, images: Path | None) -> Path:
    """Name the folder after the model or the images, so that the same command finds its answers."""
    import hashlib

    folder = (images or Path()).resolve()
    source = model or str(folder)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", model or folder.name).strip(".-") or "images"
    return Path("bench") / f"{name[:60]}-{hashlib.sha256(source.encode()).hexdigest()[:8]}"


