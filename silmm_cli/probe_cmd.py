"""`silmm probe`: what a base model's or a judge's files say, whether it works, timings and memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from silmm_cli.console import print_json, results, say

if TYPE_CHECKING:
    from rich.console import Console

    from silmm.probe import Probe

_FAILED = 1
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@click.argument("component", metavar="NAME[:PATH]")
@click.option(
    "--kind", type=click.Choice(["model", "judge"]), help="What NAME is, if a model and a judge have it."
)
@click.option(
    "--prompt", "texts", multiple=True, metavar="TEXT",
    help="A prompt of your own for a base model, give two; or what a judge is asked about each image.",
)
@click.option(
    "--image", "seen", multiple=True, metavar="FILE", type=click.Path(path_type=Path),
    help="An image that a judge looks at beside its own; may be repeated.",
)
@click.option(
    "--set", "sets", multiple=True, metavar="KIND.OPTION=VALUE",
    help="Set an option, as model.device=cuda or judge.device=cuda; may be repeated.",
)
@click.option(
    "--images", type=click.Path(path_type=Path, file_okay=False),
    help="Folder in which to write the two images that a base model sampled.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
def probe(
    *, component: str, kind: Literal["model", "judge"] | None, texts: tuple[str, ...], seen: tuple[Path, ...],
    sets: tuple[str, ...], images: Path | None, as_json: bool,
) -> None:
    """Check the files of a base model or of a judge, and that it works.

    Prints what the checkpoint says where the plugin tells it. Then a base model samples, answers and trains on
    two prompts; a judge is shown images of which the answer is known, and yours. A judge's files are told
    of even where they do not load. Timings and peak memory stand beside. The exit code is 1 when a check
    fails. A bug report should hold the output.

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
    name, given = split_component(registry, component, sets, kind)
    if kind == "judge":
        _refuse_generation(name, images)
    options = component_options(registry, kind, name, given)
    found = run_probe(registry, name, options, texts, seen, kind)
    if images is not None:
        _write(found, images)
    if as_json:
        print_json(found.as_object())
    else:
        _print(found, results())
    if not found.sound:
        raise SystemExit(_FAILED)


def _refuse_generation(name: str, images: Path | None) -> None:
    from silmm.errors import UsageError

    if images is not None:
        raise UsageError(f"the judge {name!r} samples nothing that --images could write; leave it out")


def _write(found: Probe, folder: Path) -> None:
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(found.images):
        path = folder / f"{number}.png"
        Image.fromarray(image).save(path)
        say(f"wrote {path}")


def _print(found: Probe, console: Console) -> None:
    from rich.text import Text

    console.print(Text(f"{found.kind} {found.name}", style="bold"))
    for fact in _lines(found.facts, "  "):
        console.print(Text(fact), soft_wrap=True)
    wide = max([14, *(len(finding.name) + 2 for finding in found.findings)])
    for finding in found.findings:
        spent = f" ({finding.seconds:.2f} s)" if finding.seconds else ""
        line = Text(f"{finding.state:<5}", style=_COLOURS[finding.state])
        console.print(line + Text(f"{finding.name + ':':<{wide}}{finding.detail}{spent}"), soft_wrap=True)


def _lines(facts: dict[str, Any], indent: str) -> list[str]:
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}:", *_lines(value, indent + "  ")]
        else:
            text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            lines.append(f"{indent}{name}: {text or 'none'}")
    return lines
