"""`silmm run` and `silmm report`: from flags to settings, from the result to a table and a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from silmm.storage.paths import STAGES
from silmm_cli.console import chatter, print_json, print_line, results, say
from silmm_cli.options import json_option, out_option, set_option, shard_option, workers_option

if TYPE_CHECKING:
    from rich.console import Console

    from silmm.engine.run import RunResult
    from silmm.registry.registry import Registry
    from silmm.rendering.result_table import ResultTable, RowStyle

_COMPONENTS = {
    "model": "Base model, with the folder or hub id of its files if it takes one; by default an embedded one "
    "that works with the other components.",
    "judge-model": "Base model that answers the questions about the images; by default the model itself.",
    "prompter": "How prompts are written.",
    "sampler": "How candidates are sampled.",
    "questioner": "How prompts become questions.",
    "scorer": "How answers become a score.",
    "pair-rule": "How candidates become preference pairs.",
    "trainer": "How the model is tuned.",
    "kernel": "Distance between features, such as avgpool-cos, for trainers that take one.",
    "benchmark": "Evaluation before and after; none switches it off.",
}
_METAVARS = {"model": "NAME[:PATH]", "judge-model": "NAME[:PATH]"}


def _component_flags(command: click.Command) -> click.Command:
    """Give the command one flag per kind of component."""
    flags = [
        click.Option([f"--{kind}"], metavar=_METAVARS.get(kind, "NAME"), help=text)
        for kind, text in _COMPONENTS.items()
    ]
    command.params[:0] = flags
    return command


@_component_flags
@click.command()
@click.option("--prompts", metavar="FILE|N", help="Prompts: a file, or the number of prompts to write.")
@click.option("--images-per-prompt", type=int, help="Number of candidates per prompt.")
@click.option(
    "--decodes-per-candidate", type=int,
    help="Number of decoder noises under which each candidate is scored; its score is the mean.",
)
@click.option(
    "--pairs", "own_pairs", type=click.Path(dir_okay=False), help="Train on the preference pairs of this file.",
)
@click.option(
    "--pair-shape", metavar="NxM",
    help="Pair the best N with the worst M candidates: short for --set pair-rule.shape=NxM.",
)
@click.option(
    "--judge", "judges", multiple=True, metavar="ROLE=NAME[:PATH]",
    help="Another judge of the benchmark, or its weights, as in silmm bench. May be repeated.",
)
@click.option("--iterations", type=int, help="Number of iterations; each tuned model is the next reference.")
@click.option("--seed", type=int, help="Seed of the whole run.")
@click.option("--limit", type=int, help="Use only this many prompts; marks all results as partial.")
@click.option("--until", type=click.Choice(STAGES), help="Stop after this stage.")
@click.option("--from", "from_", type=click.Choice(STAGES), help="Start with this stage.")
@set_option("Set an option of a component, such as sampler.top_p=0.9.")
@click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), help="TOML file with the same keys.",
)
@click.option(
    "--run-dir", type=click.Path(path_type=Path, file_okay=False),
    help="Directory of the run; by default runs/MODEL-DIGEST, so that the same command finds its run.",
)
@click.option(
    "--executor", metavar="NAME", help="How shards are run; by default local. The result does not depend on it.",
)
@workers_option
@click.option("--threads", type=int, help="Torch threads of each worker; part of the run's identity.")
@shard_option("shard")
@click.option(
    "--tracker", "trackers", multiple=True, metavar="NAME",
    help="Report progress and metrics to this tracker. May be repeated; no part of the run's identity.",
)
@json_option
def run(
    *,
    prompts: str | None,
    own_pairs: str | None,
    pair_shape: str | None,
    judges: tuple[str, ...],
    until: str | None,
    from_: str | None,
    sets: tuple[str, ...],
    config: Path | None,
    run_dir: Path | None,
    executor: str | None,
    workers: int,
    shard: tuple[int, int] | None,
    trackers: tuple[str, ...],
    as_json: bool,
    **flags: Any,  # one entry per plain setting, checked by RunSettings
) -> None:
    """Align a model by its own judgement, and measure it.

    Without options the embedded model is aligned in minutes. Stop it at any time: the same command resumes it
    and leads to the same result.
    """
    import silmm.engine.run  # imported late, like the rest: the help needs none of it
    from silmm.engine.distributed import rank
    from silmm.engine.settings_resolution import resolve_settings
    from silmm.registry.registry import Registry
    from silmm.report import write_report
    from silmm_cli.display import make_display

    if pair_shape is not None:
        sets = (f"pair-rule.shape={pair_shape}", *sets)
    if judges:
        sets = (f"benchmark.judges={','.join(judges)}", *sets)
    registry = Registry.load()
    sets, services = _service_options(sets)
    settings = resolve_settings(
        registry,
        toml_path=config,
        flags={"prompts": prompts, "pairs": own_pairs, **flags},
        sets=sets,
        announce=say if rank() == 0 else (lambda _: None),
    )
    folder = run_dir or settings.default_run_dir
    if rank() > 0:  # only trains; rank 0 shows and writes everything
        silmm.engine.run.start(settings, folder, until=until, shard=shard, registry=registry)
        return
    shard_executor = None
    if executor or services["executor"]:
        texts = {"workers": str(workers)} if workers > 1 else {}
        shard_executor = _build(registry, "executor", executor or "local", texts | services["executor"])
    observers = [_build(registry, "tracker", name, services["tracker"]) for name in trackers]
    with make_display(chatter()) as display:
        result = silmm.engine.run.start(
            settings, folder, workers=workers, executor=shard_executor, until=until, from_=from_, shard=shard,
            observers=(display, *observers), registry=registry,
        )
    page = write_report(folder)
    if as_json:
        print_json(outcome_object(result, page))
    else:
        print_outcome(result, page, results())


def _service_options(sets: Sequence[str]) -> tuple[tuple[str, ...], dict[str, dict[str, str]]]:
    """Split off the options of executor and trackers, which are no settings: no result depends on them."""
    from silmm.contracts.options import split_assignment

    services: dict[str, dict[str, str]] = {"executor": {}, "tracker": {}}
    settings = []
    for text in sets:
        kind, option, value = split_assignment(text)
        if kind in services:
            services[kind][option] = value
        else:
            settings.append(text)
    return tuple(settings), services


def _build(registry: Registry, kind: str, name: str, texts: Mapping[str, str]) -> Any:  # a component of that kind
    from silmm.contracts.options import Given, complete

    options = {option: Given(value, f"--set {kind}.{option}", text=True) for option, value in texts.items()}
    return registry.build(kind, name, complete(registry.entry(kind, name).options, f"{kind} {name!r}", options))


@click.command()
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@out_option("Folder of the report; RUN/report by default.")
def report(run: Path, out: Path | None) -> None:
    """Write the report of RUN: one folder that opens from disk."""
    from silmm.report import write_report  # imported late: brings pyarrow

    click.echo(str(write_report(run, out)))


def outcome_object(result: RunResult, page: Path | None) -> dict[str, Any]:
    """Return the object that `--json` prints; `overall` is null where nothing was evaluated."""
    adapters = list(result.adapters.values())
    unfinished: dict[str, Any] = {"overall": None, "categories": {}}
    return {
        **(result.summary or unfinished),
        "wall_seconds": dict(result.timings),
        "run_dir": str(result.run_dir),
        "report": str(page) if page else None,
        "adapter": str(adapters[-1]) if adapters else None,
    }


def print_outcome(result: RunResult, page: Path | None, console: Console) -> None:
    """Print the table of the evaluation, if there was one, and the paths of run, report and adapter."""
    from silmm.rendering.table_formats import to_rich
    from silmm_cli.display import clock

    outcome = outcome_object(result, page)
    if outcome["overall"]:
        console.print(to_rich(outcome_table(outcome)))
    if outcome.get("judge_model"):
        print_line(console, f"judge    {outcome['judge_model']} answered, not the model itself")
    for name in ("run_dir", "report", "adapter"):
        if outcome[name]:
            print_line(console, f"{name.removesuffix('_dir'):<8} {outcome[name]}")
    print_line(console, f"time     {clock(sum(map(float, result.timings.values())))}")


def outcome_table(summary: Mapping[str, Any]) -> ResultTable:
    """Return the table of a run: overall, each category, then the secondary measures."""
    from silmm.rendering.result_table import ResultTable, difference_columns, difference_row

    partial = " · PARTIAL (--limit): not a benchmark result" if summary.get("partial") else ""
    title = f"{summary.get('benchmark', 'benchmark')}: {summary.get('metric', 'score')}{partial}"
    rows = [difference_row("overall", summary["overall"], style="total")]
    styles: dict[str, RowStyle] = {"categories": "", "secondary": "quiet"}
    for part, style in styles.items():
        for position, (name, figures) in enumerate(summary.get(part, {}).items()):
            rows.append(difference_row(name, figures, style=style, new_section=position == 0))
    return ResultTable(difference_columns("before", "after", "n"), tuple(rows), title)
