"""`silmm run`: from flags to settings, from events to the screen, from the result to a table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from silmm.errors import UsageError
from silmm.storage.paths import STAGES
from silmm_cli.console import chatter, print_json, results, say

_SHARD = re.compile(r"(\d+)/(\d+)")
_COMPONENTS = {
    "model": "Base model, with the folder or hub id of its files if it takes one; by default an embedded one "
    "that works with what else is named.",
    "judge-model": "Another base model that answers the questions about the images; by default the model "
    "itself does.",
    "prompter": "Who writes the prompts.",
    "sampler": "How candidates are sampled.",
    "questioner": "How prompts become questions.",
    "scorer": "How answers become a score.",
    "pair-rule": "Which candidates become pairs.",
    "trainer": "How the model is tuned.",
    "kernel": "Distance between features, as avgpool-cos, for trainers that take one.",
    "benchmark": "Evaluation before and after; none switches it off.",
}

_METAVARS = {"model": "NAME[:PATH]", "judge-model": "NAME[:PATH]"}


def _component_flags(command: click.Command) -> click.Command:
    """Give the command one flag for each kind of component."""
    flags = [
        click.Option([f"--{kind}"], metavar=_METAVARS.get(kind, "NAME"), help=text)
        for kind, text in _COMPONENTS.items()
    ]
    command.params[:0] = flags
    return command


@_component_flags
@click.command()
@click.option("--prompts", metavar="FILE|N", help="Prompts: a file, or how many to write.")
@click.option("--images-per-prompt", type=int, help="Candidates sampled for each prompt.")
@click.option(
    "--decodes-per-candidate", type=int,
    help="Noises of the decoder under which each candidate is scored; its score is the mean.",
)
@click.option(
    "--pairs", "own_pairs", type=click.Path(dir_okay=False), help="Train on the pairs of your own file.",
)
@click.option(
    "--pair-shape", metavar="NxM",
    help="Pair the best N with the worst M candidates: short for --set pair-rule.shape=NxM.",
)
@click.option("--iterations", type=int, help="Rounds; each tuned model is the next reference.")
@click.option("--seed", type=int, help="Seed of the whole run.")
@click.option("--limit", type=int, help="Use this many prompts only; marks all results as partial.")
@click.option("--until", type=click.Choice(STAGES), help="Stop after this stage.")
@click.option("--from", "from_", type=click.Choice(STAGES), help="Start with this stage.")
@click.option(
    "--set", "sets", multiple=True, metavar="KIND.OPTION=VALUE",
    help="Set an option of a component, as sampler.top_p=0.9; may be repeated.",
)
@click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False),
    help="TOML file with the same keys.",
)
@click.option(
    "--run-dir", type=click.Path(path_type=Path, file_okay=False),
    help="Where the run lives; by default runs/MODEL-DIGEST, so the same command finds its run.",
)
@click.option(
    "--workers", type=click.IntRange(1), default=1, show_default=True,
    help="Processes that share the work; the result does not depend on it.",
)
@click.option("--threads", type=int, help="Torch threads of each worker; part of the identity.")
@click.option("--shard", metavar="I/N", help="Do only every N-th shard, from the I-th (0-based).")
@click.option(
    "--tracker", "trackers", multiple=True, metavar="NAME",
    help="Tell this tracker how the run goes; may be repeated; no part of the identity.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
def run(
    *,
    prompts: str | None,
    own_pairs: str | None,
    pair_shape: str | None,
    until: str | None,
    from_: str | None,
    sets: tuple[str, ...],
    config: Path | None,
    run_dir: Path | None,
    workers: int,
    shard: str | None,
    trackers: tuple[str, ...],
    as_json: bool,
    **flags: Any,  # one entry for each plain setting, checked by RunSettings
) -> None:
    """Align a model by its own judgement, and measure it.

    Without options the embedded model is aligned in minutes. Stop it at any time: the same command
    goes on from where it was, to the same result.
    """
    import silmm.engine.run  # imported late, like the rest: the help needs none of it
    from silmm.engine.distributed import rank
    from silmm.engine.settings_resolution import resolve_settings
    from silmm.registry.registry import Registry
    from silmm.report import write_report
    from silmm_cli.display import make_display
    from silmm_cli.outcome import as_object, print_outcome

    part = parse_shard(shard)
    if pair_shape is not None:
        sets = (f"pair-rule.shape={pair_shape}", *sets)
    registry = Registry.load()
    settings = resolve_settings(
        registry,
        toml_path=config,
        flags={"prompts": prompts, "pairs": own_pairs, **flags},
        sets=sets,
        announce=say if rank() == 0 else (lambda _: None),
    )
    folder = run_dir or settings.default_run_dir
    if rank() > 0:  # only trains; rank 0 shows and writes everything
        silmm.engine.run.start(settings, folder, until=until, shard=part, registry=registry)
        return
    followers = [registry.build("tracker", name, {}) for name in trackers]
    with make_display(chatter()) as display:
        result = silmm.engine.run.start(
            settings, folder, workers=workers, until=until, from_=from_, shard=part,
            observers=(display, *followers), registry=registry,
        )
    page = write_report(folder)
    if as_json:
        print_json(as_object(result, page))
    else:
        print_outcome(result, page, results())


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """Read ``i/n`` with 0 <= i < n.

    Raises:
        UsageError: the text is something else.
    """
    if text is None:
        return None
    match = _SHARD.fullmatch(text)
    if match is None or not int(match[1]) < int(match[2]):
        raise UsageError(f"--shard {text!r} is not I/N with 0 <= I < N; the first of four is 0/4")
    return int(match[1]), int(match[2])
