"""`silmm probe`: what a checkpoint says, two prompts through it, timings and memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from silmm_cli.console import print_json, results, say

if TYPE_CHECKING:
    from rich.console import Console

    from silmm.probe import Probe

_FAILED = 1
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@click.argument("model", metavar="NAME[:PATH]")
@click.option("--prompt", "prompts", multiple=True, metavar="TEXT", help="A prompt of your own; give two.")
@click.option(
    "--set", "sets", multiple=True, metavar="model.OPTION=VALUE",
    help="Set an option of the model, as model.device=cuda; may be repeated.",
)
@click.option(
    "--pictures", type=click.Path(path_type=Path, file_okay=False),
    help="Folder in which to write the two pictures.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout.")
def probe(
    *, model: str, prompts: tuple[str, ...], sets: tuple[str, ...], pictures: Path | None, as_json: bool
) -> None:
    """Check a base model's files, and that it draws, answers and trains.

    Prints what the checkpoint says where the plugin tells it, and puts two prompts through the model, with
    timings and peak memory. The exit code is 1 when a check fails. A bug report should hold the output.

    \b
    --json prints {"ok", "model", "options", "facts", "checks"}; a check has name,
    state (ok, warn or fail), detail and seconds.
    """
    from silmm.probe import PROMPTS, model_options  # imported late: the help needs none of it
    from silmm.probe import probe as run_probe
    from silmm.registry import Registry
    from silmm_cli.model_path import split_model

    registry = Registry.load()
    name, texts = split_model(registry, model, sets)
    options = model_options(registry, name, texts)
    found = run_probe(registry, name, options, prompts or PROMPTS)
    if pictures is not None:
        _write(found, pictures)
    if as_json:
        print_json(found.as_object())
    else:
        _print(found, results())
    if not found.sound:
        raise SystemExit(_FAILED)


def _write(found: Probe, folder: Path) -> None:
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(found.pictures):
        path = folder / f"{number}.png"
        Image.fromarray(picture).save(path)
        say(f"wrote {path}")


def _print(found: Probe, console: Console) -> None:
    from rich.text import Text

    console.print(Text(f"model {found.model}", style="bold"))
    for fact in _lines(found.facts, "  "):
        console.print(Text(fact), soft_wrap=True)
    for finding in found.findings:
        spent = f" ({finding.seconds:.2f} s)" if finding.seconds else ""
        line = Text(f"{finding.state:<5}", style=_COLOURS[finding.state])
        console.print(line + Text(f"{finding.name + ':':<14}{finding.detail}{spent}"), soft_wrap=True)


def _lines(facts: dict[str, Any], indent: str) -> list[str]:
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}:", *_lines(value, indent + "  ")]
        else:
            text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            lines.append(f"{indent}{name}: {text}")
    return lines
