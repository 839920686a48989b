"""`silmm probe`: the content of a base model's or a judge's files, whether it works, timings and memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from silmm_cli.console import print_check, print_json, print_line, results, say
from silmm_cli.options import json_option, set_option

if TYPE_CHECKING:
    from rich.console import Console

    from silmm.probe import Probe

_FAILED = 1


@click.command()
@click.argument("component", metavar="NAME[:PATH]")
@click.option(
    "--kind", type=click.Choice(["model", "judge"]), help="Kind of NAME, where a model and a judge have that name."
)
@click.option(
    "--prompt", "texts", multiple=True, metavar="TEXT",
    help="A prompt for a base model (give two), or a question or text for a judge about each image.",
)
@click.option(
    "--image", "own_images", multiple=True, metavar="FILE", type=click.Path(path_type=Path),
    help="An image about which a judge is asked in addition to its own. May be repeated.",
)
@set_option("Set an option, such as model.device=cuda or judge.device=cuda.")
@click.option(
    "--images", type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the two images that a base model sampled.",
)
@json_option
def probe(
    *, component: str, kind: Literal["model", "judge"] | None, texts: tuple[str, ...],
    own_images: tuple[Path, ...], sets: tuple[str, ...], images: Path | None, as_json: bool,
) -> None:
    """Check the files of a base model or of a judge, and that it works.

    Prints the content of the checkpoint where the plugin reports it. Then a base model samples, answers and trains
    on two prompts; a judge answers about images whose answers are known, and about yours. A judge's files are
    reported even where they do not load. Timings and peak memory follow. The exit code is 1 when a check fails. A bug
    report should include the output.

    \b
    --json prints {"ok", "model" or "judge", "options", "facts", "checks"}; a check has
    name, state (ok, warn or fail), detail and seconds.
    """
    from silmm.probe import component_options, kind_of  # imported late: the help needs none of it
    from silmm.probe import probe as run_probe
    from silmm.registry.component_path import split_component
    from silmm.registry.registry import Registry

    registry = Registry.load()
    kind = kind_of(registry, component.partition(":")[0], kind)
    name, all_sets = split_component(registry, component, sets, kind)
    if kind == "judge":
        _refuse_generation(name, images)
    options = component_options(registry, kind, name, all_sets)
    result = run_probe(registry, name, options, texts, own_images, kind)
    if images is not None:
        _write(result, images)
    if as_json:
        print_json(result.as_object())
    else:
        _print(result, results())
    if not result.sound:
        raise SystemExit(_FAILED)


def _refuse_generation(name: str, images: Path | None) -> None:
    from silmm.errors import UsageError

    if images is not None:
        raise UsageError(f"the judge {name!r} samples no images that --images could write; leave it out")


def _write(result: Probe, folder: Path) -> None:
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(result.images):
        path = folder / f"{number}.png"
        Image.fromarray(image).save(path)
        say(f"wrote {path}")


def _print(result: Probe, console: Console) -> None:
    print_line(console, f"{result.kind} {result.name}", "bold")
    for fact in _lines(result.facts, "  "):
        print_line(console, fact)
    width = max([14, *(len(finding.name) + 2 for finding in result.findings)])
    for finding in result.findings:
        seconds = f" ({finding.seconds:.2f} s)" if finding.seconds else ""
        print_check(console, finding.state, finding.name, f"{finding.detail}{seconds}", width)


def _lines(facts: dict[str, Any], indent: str) -> list[str]:
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}:", *_lines(value, indent + "  ")]
        else:
            text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            lines.append(f"{indent}{name}: {text or 'none'}")
    return lines
