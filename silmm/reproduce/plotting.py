"""Figures as SVG and PNG: our gains (or scores) with their intervals, and panels with the paper's numbers."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from silmm.reproduce.experiment import OVERALL, PAPER_MODEL, Chart, PaperColumn
from silmm.reproduce.measuring import BEST_OF, same_category
from silmm.reproduce.reproduction import Line, Reproduction
from silmm.reproduce.row_settings import first_sentence

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#7f7f7f")
"""Okabe and Ito's, which colour-blind readers can distinguish; markers differ too."""
MARKERS = "osD^vPX*"
STYLE: dict[Any, Any] = {  # Any: matplotlib's names differ by version
    "axes.grid": True, "axes.spines.right": False, "axes.spines.top": False, "font.size": 10,
    "grid.alpha": 0.3, "svg.fonttype": "none", "svg.hashsalt": "silmm",
}
_PANEL = (4.6, 3.4)
"""Inches of a panel."""


def plot(result: Reproduction) -> dict[str, bytes]:
    """Return the figure as {"svg": …, "png": …}.

    Raises:
        ImportError: matplotlib is missing; :func:`silmm.reproduce.reproduction.check_plottable` checks before.
    """
    import matplotlib as mpl

    chart = result.experiment.chart
    assert chart is not None, "the experiment is a table"  # noqa: S101 - the caller asks only for figures
    with mpl.rc_context(STYLE):
        figure = (_lines if chart.form == "lines" else _boxes)(result, chart)
        figure.suptitle(result.experiment.title, fontsize=12, fontweight="bold")
        files = {}
        for form, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
            sink = io.BytesIO()
            figure.savefig(sink, format=form, dpi=150, metadata=metadata)
            files[form] = sink.getvalue()
    return files


def _panels(rows: int, columns: int, *, share_y: bool = False) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_PANEL[0] * columns, _PANEL[1] * rows + 0.6), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, sharey=share_y)


# -------------------------------------------------------------------------------------------- lines


def _lines(result: Reproduction, chart: Chart) -> Figure:
    groups = list(dict.fromkeys(line.plan.row.group for line in result.lines))
    figure, axes = _panels(2 if chart.paper else 1, len(groups))
    columns = [column for column in result.columns if column.name in chart.columns]
    for index, group in enumerate(groups):
        members = [line for line in result.lines if line.plan.row.group == group]
        _gains(axes[0][index], members, columns, log=chart.log_x)
        _describe(axes[0][index], members, group, chart)
        axes[0][index].set_ylabel(f"gain in {result.metric}")
        if chart.paper:
            _paper_gains(axes[1][index], result, members, columns)
            axes[1][index].set(
                title=f"{group}, in the paper", xlabel=chart.x_label, ylabel="gain in percentage points"
            )
            _ticks(axes[1][index], members, log=False)
    handles, labels = axes[0][0].get_legend_handles_labels()
    for axis in axes.flat:
        more_handles, more_labels = axis.get_legend_handles_labels()
        new = [pair for pair in zip(more_handles, more_labels, strict=True) if pair[1] not in labels]
        handles += [handle for handle, _ in new]
        labels += [label for _, label in new]
    if handles:
        figure.legend(handles, labels, loc="outside right upper", frameon=False)
    return figure


def _gains(axis: Axes, members: Sequence[Line], columns: Sequence[PaperColumn], *, log: bool) -> None:
    """Plot the difference to the base over x with its interval, one line per column (or named line)."""
    names = list(dict.fromkeys(line.plan.row.line for line in members))
    positions = [line.plan.row.x or 0.0 for line in members]
    curves = [(name, column) for name in names for column in columns]
    for index, (name, column) in enumerate(curves):
        shift = index - (len(curves) - 1) / 2  # side by side, so that no interval hides another
        points = [
            (_shifted(line.plan.row.x, shift, max(positions) - min(positions), log=log), line.cells[column.name])
            for line in members
            if line.plan.row.line == name and column.name in line.cells and line.plan.row.x is not None
        ]
        if not points:
            continue
        values = [cell.diff or 0.0 for _, cell in points]
        reach = [
            [max(0.0, value - cell.ci_low) if math.isfinite(cell.ci_low) else 0.0
             for value, (_, cell) in zip(values, points, strict=True)],
            [max(0.0, cell.ci_high - value) if math.isfinite(cell.ci_high) else 0.0
             for value, (_, cell) in zip(values, points, strict=True)],
        ]
        axis.errorbar(
            [x for x, _ in points], values, yerr=reach, capsize=3, linewidth=1.6,
            label=_model_of(members, name) if name else column.name,
            color=COLORS[index % len(COLORS)], marker=MARKERS[index % len(MARKERS)], markersize=5,
            elinewidth=0.8,
        )


def _shifted(x: float, shift: float, span: float, *, log: bool) -> float:
    """Shift a position slightly: by a share of the axis, or by a factor on a logarithmic one."""
    return x * 1.02**shift if log else x + shift * 0.012 * span


def _model_of(members: Sequence[Line], name: str) -> str:
    """Name the model that stands for the paper's."""
    model = next(line.plan.model for line in members if line.plan.row.line == name)
    return f"{model} (paper: {name})"


def _paper_gains(
    axis: Axes, result: Reproduction, members: Sequence[Line], columns: Sequence[PaperColumn]
) -> None:
    for index, column in enumerate(columns):
        points = [
            (line.plan.row.x, number) for line in members
            if (number := result.paper(line).get(column.name)) is not None and line.plan.row.x is not None
        ]
        if points:
            axis.plot(
                [x for x, _ in points], [number - points[0][1] for _, number in points], label=column.name,
                color=COLORS[index % len(COLORS)], marker=MARKERS[index % len(MARKERS)], markersize=5,
                linewidth=1.6,
            )


def _describe(axis: Axes, members: Sequence[Line], group: str, chart: Chart) -> None:
    """Set title, ticks and the zero line; name the rows that could not run."""
    title = f"{members[0].plan.model} (paper: {group})" if group in PAPER_MODEL.values() else group
    axis.set(title=title, xlabel=chart.x_label)
    _ticks(axis, members, log=chart.log_x)
    missing = [line for line in members if not line.cells]
    if len(missing) < len(members):
        axis.axhline(0.0, color="#444444", linewidth=0.8, linestyle=":")
        text = f"no numbers: {', '.join(line.name for line in missing)}" if missing else ""
    else:
        axis.set_yticks([])
        text = f"no numbers\n{first_sentence(missing[0].status)}"
    wrapped = "\n".join(textwrap.fill(part, 56) for part in text.splitlines())
    axis.text(0.5, 0.02, wrapped, transform=axis.transAxes, ha="center", fontsize=8, color="#555555")


def _ticks(axis: Axes, members: Sequence[Line], *, log: bool) -> None:
    positions = sorted({line.plan.row.x for line in members if line.plan.row.x is not None})
    if log:
        axis.set_xscale("log")
    axis.set_xticks(positions, [f"{x:g}" for x in positions])
    axis.minorticks_off()


# -------------------------------------------------------------------------------------------- boxes


def _boxes(result: Reproduction, chart: Chart) -> Figure:
    columns = [column for column in result.columns if column.name in chart.columns]
    wide = min(3, len(columns))
    figure, axes = _panels(-(-len(columns) // wide), wide, share_y=True)
    shown = [line for line in result.lines if line.cells]
    names = [line.name for line in shown]
    missing = [line.name for line in result.lines if not line.cells]
    for index, axis in enumerate(axes.flat):
        if index >= len(columns):
            axis.set_axis_off()
            continue
        _box_panel(axis, shown, names, columns[index])
        axis.set(title=columns[index].name, xlabel=chart.x_label)
    axes[0][0].set_ylabel("self-score (Eq. 1)")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    if missing:
        figure.supxlabel(f"no numbers: {', '.join(missing)}", fontsize=8, color="#555555")
    return figure


def _box_panel(axis: Axes, shown: Sequence[Line], names: Sequence[str], column: PaperColumn) -> None:
    """Plot the distribution of all candidates' scores, their mean, and the mean of each prompt's best."""
    groups = [_scores(line, column) for line in shown]
    filled = [(position, group) for position, group in enumerate(groups) if group]
    if not filled:
        axis.text(0.5, 0.5, "no prompts of this category", transform=axis.transAxes, ha="center", fontsize=8)
        return
    positions = [position for position, _ in filled]
    all_scores = [[score for scores in group for score in scores] for _, group in filled]
    axis.boxplot(
        all_scores, positions=positions, widths=0.55, showfliers=False, patch_artist=True,
        boxprops={"facecolor": "#56b4e9", "alpha": 0.5}, medianprops={"color": "#000000"},
    )
    means = [sum(scores) / len(scores) for scores in all_scores]
    best = [sum(max(scores) for scores in group) / len(group) for _, group in filled]
    axis.plot(positions, means, "D", color=COLORS[1], markersize=5, label="mean of all candidates")
    form = "^-" if all(line.plan.row.x is not None for line in shown) else "^"  # a line joins numbers alone
    axis.plot(positions, best, form, color=COLORS[2], markersize=7, linewidth=1.2, label=BEST_OF.name)
    axis.set_xticks(range(len(names)), names, rotation=20 if max(map(len, names)) > 9 else 0)


def _scores(line: Line, column: PaperColumn) -> list[Sequence[float]]:
    """Return the scores of each prompt's candidates in the categories of a column."""
    return [
        scores for category, prompts in line.scores.items() for scores in prompts
        if column == OVERALL or any(same_category(category, own) for own in column.categories)
    ]
