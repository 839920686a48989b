"""The display of `silmm run` while it works: progress with the time left, and a live training panel."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import ProgressColumn as RichColumn
from rich.table import Table
from rich.text import Text

from silmm.storage.paths import STAGES
from silmm_cli.console import print_line

BARS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 48
WATCHED = {
    "loss": "loss",
    "margin": "margin",
    "accuracy": "accuracy of the implicit reward",
    "kl": "KL to the reference",
    "chosen_logp": "chosen, Δ log π per token",
    "rejected_logp": "rejected, Δ log π per token",
    "chosen_relative": "k(H, H_w), reference = 1",
    "rejected_relative": "k(H, H_l), reference = 1",
    "drift": "drift k(H, H_r)",
    "validation_score": "self-score, held-out prompts",
    "lr": "learning rate",
}
"""Metric names of trainers, in the order of the panel; unknown ones follow under their own name."""
SIDES = ("chosen", "rejected")
DISTANCES = frozenset(f"{who}{side}_distance" for who in ("", "reference_") for side in SIDES)
"""Shown as quotients: :func:`with_relative`."""
BOOKKEEPING = DISTANCES | {
    "step", "total_steps", "seconds", "pairs", "chosen_falls", "chosen_recedes", "gamma_eff",
    "validation_error", "validation_prompts", "validation_reference", "validation_best_step",
}


def sparkline(values: list[float], width: int = CURVE_WIDTH) -> str:
    """Return finite values as one line of blocks, averaged down to `width` columns."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    count = min(width, len(finite))
    edges = [round(i * len(finite) / count) for i in range(count + 1)]
    means = [
        sum(finite[a:b]) / (b - a) for a, b in itertools.pairwise(edges) if b > a
    ]
    low, span = min(means), max(means) - min(means)
    if span == 0:
        return BARS[3] * len(means)
    return "".join(BARS[int((value - low) / span * (len(BARS) - 1) + 0.5)] for value in means)


def rate(done: float, seconds: float) -> str:
    """Write a speed per second, minute or hour, so that slow and fast stages are both readable."""
    if seconds <= 0 or done <= 0:
        return "–/s"
    for unit, length in (("s", 1), ("min", 60), ("h", 3600)):
        speed = done / seconds * length
        if speed >= 1 or unit == "h":
            return f"{speed:.0f}/{unit}" if speed >= 10 else f"{speed:.1f}/{unit}"
    raise AssertionError("unreachable: the last unit always returns")


def clock(seconds: float) -> str:
    """Write a duration as 42 s, 3:05 or 1:02:03."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


class _RateColumn(RichColumn):
    """Units per second of a task."""

    def render(self, task: Task) -> Text:
        """Return the rate since the task started, without the units that an earlier process completed."""
        earlier = task.fields.get("earlier", 0)
        return Text(rate(task.completed - earlier, task.elapsed or 0), style="cyan", justify="right")


class Display:
    """An observer that reports progress; this base class only counts the iterations."""

    def __init__(self, console: Console) -> None:
        """Write to `console`."""
        self.console = console
        self.iteration = 1

    def __enter__(self) -> Display:
        """Start to display."""
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the terminal as it was, whatever happened."""

    def silmm_run_started(self, run: Path, settings: Mapping[str, Any]) -> None:
        """Report which run starts or resumes; the display of an earlier one ends."""
        del run, settings
        self.iteration = 1

    def silmm_iteration_finished(self) -> None:
        """Count the next iteration."""
        self.iteration += 1

    def progress(self, stage: str, done: int, total: int) -> None:
        """Report how far a stage is, in its own units of work; a total of 0 means unknown."""

    def silmm_train_step(self, iteration: int, step: int, metrics: Mapping[str, float]) -> None:
        """Show the figures of a training step."""

    def note(self, message: str) -> None:
        """Print a line for the user, as it is, above the display."""
        print_line(self.console, message)

    def where(self, stage: str) -> str:
        """Name a stage of the loop with its iteration; the evaluation comes after all of them."""
        return f"iter {self.iteration} {stage}" if stage in STAGES else stage


class PlainDisplay(Display):
    """One line per tenth of a stage: for logs, pipes and screens that cannot be redrawn."""

    def __init__(self, console: Console) -> None:
        """Print to `console`."""
        super().__init__(console)
        self._started: dict[str, tuple[float, int]] = {}
        self._tenth: dict[str, int] = {}

    def silmm_run_started(self, run: Path, settings: Mapping[str, Any]) -> None:
        """Print the run directory and the components of the run."""
        super().silmm_run_started(run, settings)
        self._started, self._tenth = {}, {}
        self.note(_headline(run, settings))

    def progress(self, stage: str, done: int, total: int) -> None:
        """Print a line when a stage passes another tenth."""
        if total <= 0:
            return  # a training without a known end: its steps are printed anyway
        key = self.where(stage)
        now = time.monotonic()
        started, earlier = self._started.setdefault(key, (now, done))
        tenth = done * 10 // total
        if tenth <= self._tenth.get(key, -1):
            return
        self._tenth[key] = tenth
        speed = rate(done - earlier, now - started)
        left = _time_left(done, total, earlier, now - started)
        self.note(f"{key:<18} {done}/{total} ({tenth * 10}%) {speed}{left}")

    def silmm_train_step(self, iteration: int, step: int, metrics: Mapping[str, float]) -> None:
        """Print the figures of the first and of every tenth step."""
        if step == 1 or step % 10 == 0:
            shown = watched(with_relative(metrics))
            figures = " ".join(f"{name}={value:.4g}" for name, value in shown.items())
            self.note(f"iter {iteration} train step {step} {figures}")


class LiveDisplay(Display):
    """Bars for the stages and a panel of training curves, redrawn in place."""

    def __init__(self, console: Console) -> None:
        """Draw on `console`, which must be a terminal."""
        super().__init__(console)
        self._progress = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            _RateColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._history: dict[str, list[float]] = {}
        self._shown = (0, 0)
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=4)

    def __enter__(self) -> Display:
        """Start to display."""
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Draw the last state once more and release the terminal."""
        self._live.stop()

    def silmm_run_started(self, run: Path, settings: Mapping[str, Any]) -> None:
        """Print the run directory and the components of the run."""
        super().silmm_run_started(run, settings)
        for task in self._tasks.values():
            self._progress.remove_task(task)
        self._tasks, self._history, self._shown = {}, {}, (0, 0)
        self.note(_headline(run, settings))

    def progress(self, stage: str, done: int, total: int) -> None:
        """Move the bar of a stage."""
        key = self.where(stage)
        known_total = total if total > 0 else None
        if key not in self._tasks:
            self._tasks[key] = self._progress.add_task(key, total=known_total, earlier=done)
        self._progress.update(self._tasks[key], completed=done, total=known_total)

    def silmm_train_step(self, iteration: int, step: int, metrics: Mapping[str, float]) -> None:
        """Add a step to the curves; a new iteration starts new ones."""
        if iteration != self._shown[0]:
            self._history = {}
        self._shown = (iteration, step)
        for name, value in with_relative(metrics).items():
            self._history.setdefault(name, []).append(float(value))

    def _render(self) -> RenderableType:
        if not self._history:
            return self._progress
        return Group(self._progress, training_panel(*self._shown, self._history))


def training_panel(
    iteration: int, step: int, history: Mapping[str, list[float]]
) -> RenderableType:
    """Show the latest value of each watched metric beside its course so far."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(justify="right", style="bold")
    table.add_column(style="cyan", no_wrap=True)
    latest = watched({name: values[-1] for name, values in history.items() if values})
    for name, value in latest.items():
        table.add_row(WATCHED.get(name, name), f"{value:.4g}", sparkline(list(history[name])))
    title = f"training · iteration {iteration} · step {step}"
    return Panel(table, title=title, title_align="left", expand=False, border_style="dim")


def with_relative(metrics: Mapping[str, float]) -> dict[str, float]:
    """Add kernel distances over the reference's, which are comparable for kernels of any scale."""
    added = dict(metrics)
    for side in SIDES:
        reference, distance = metrics.get(f"reference_{side}_distance"), metrics.get(f"{side}_distance")
        if reference and distance is not None:
            added[f"{side}_relative"] = distance / reference
    return added


def watched(metrics: Mapping[str, float]) -> dict[str, float]:
    """Order metrics for readers: the watched ones first, bookkeeping left out."""
    first = [name for name in WATCHED if name in metrics]
    others = [name for name in metrics if name not in WATCHED and name not in BOOKKEEPING]
    return {name: float(metrics[name]) for name in [*first, *others]}


def make_display(console: Console) -> Display:
    """Return the display that suits the console: redrawn on a terminal, else plain lines."""
    return LiveDisplay(console) if console.is_terminal else PlainDisplay(console)


def _headline(run: Path, settings: Mapping[str, Any]) -> str:
    parts = ("model", "prompter", "sampler", "questioner", "scorer", "pair_rule", "trainer")
    named = " · ".join(str(settings[part]) for part in parts if settings.get(part))
    if judge := settings.get("judge_model"):
        named += f" · judged by {judge}"
    return f"silmm run · {named} · seed {settings.get('seed', '–')} · {run}"


def _time_left(done: int, total: int, earlier: int, seconds: float) -> str:
    if done <= earlier or done >= total:
        return f" in {clock(seconds)}" if done >= total else ""
    return f", {clock(seconds / (done - earlier) * (total - done))} left"
