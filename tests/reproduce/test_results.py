"""What the results of `silmm reproduce` promise: figures, intervals, order, and files that tell them."""

from __future__ import annotations

import csv
import json
import math
import sys

import numpy as np
import pyarrow as pa
import pytest

from silmm.bench.statistics import paired_difference
from silmm.errors import UsageError
from silmm.reproduce.experiment import FOUR, OVERALL, Chart, Experiment, PaperColumn, Row
from silmm.reproduce.listing import EXPERIMENTS
from silmm.reproduce.measuring import MeasuredCell, benchmark_cells, own_columns, score_cells, stratified_interval
from silmm.reproduce.ordering import compare_order, spearman
from silmm.reproduce.plotting import plot
from silmm.reproduce.reproduction import Line, Reproduction, check_plottable, reproduce
from silmm.reproduce.result_files import CSV_COLUMNS, as_object, markdown, write_results
from silmm.reproduce.row_settings import Plan, Request
from silmm.storage.atomic_files import atomic_write
from silmm.storage.json_files import to_json
from silmm.storage.shards import Shards

CATEGORIES = ("color", "shape", "texture", "complex")
SAMPLED = pa.schema([
    ("prompt_id", pa.string()), ("category", pa.string()), ("holds", pa.list_(pa.bool_())),
])


def share(rng, chance, facts=8):
    return [bool(value) for value in rng.random(facts) < chance]


def make_run(folder, seed=0, metric_shift=0.0):
    """Write a finished run of two iterations as shapes leaves it: 12 prompts of 2 images each."""
    rng = np.random.default_rng(seed)
    sides, means = {"before": 0.3, "1": 0.5, "2": 0.7}, {}
    prompts = [(f"p{number}", CATEGORIES[number % 4]) for number in range(12)]
    for name, chance in sides.items():
        rows = [
            {"prompt_id": key, "category": category, "holds": share(rng, chance)}
            for key, category in prompts for _ in range(2)
        ]
        Shards(folder / "eval" / f"drawn-{name}", 1).commit(0, pa.Table.from_pylist(rows, schema=SAMPLED))
        values = np.array([np.mean(row["holds"]) for row in rows]).reshape(-1, 2).mean(axis=1)
        means[name] = values + metric_shift
    atomic_write(folder / "eval" / "images.json", to_json({name: f"drawn-{name}" for name in sides}))
    own = np.array([category for _, category in prompts])
    summary = {
        "overall": vars(paired_difference(means["before"], means["2"])), "metric": "facts",
        "categories": {
            name: vars(paired_difference(means["before"][own == name], means["2"][own == name]))
            for name in CATEGORIES
        },
        "iterations": {n: vars(paired_difference(means["before"], means[n])) for n in ("1", "2")},
    }
    atomic_write(folder / "run.json", to_json({"settings": {}}))
    atomic_write(folder / "summary.json", to_json(summary))
    return folder, means, own


def test_the_overall_cell_is_the_benchmarks_own_figure(tmp_path):
    """One seed, all prompts: mean, difference and interval are those of the run's summary."""
    run, _, _ = make_run(tmp_path / "run")
    cell = benchmark_cells([run], [OVERALL], None)["overall"]
    stored = json.loads((run / "summary.json").read_text())["overall"]
    assert vars(cell) == pytest.approx({
        "value": stored["after"], "before": stored["before"], "diff": stored["diff"],
        "ci_low": stored["ci_low"], "ci_high": stored["ci_high"], "n": 12,
    })


def test_a_column_of_categories_is_their_mean_at_any_iteration(tmp_path):
    """Attribute is the mean of color, shape and texture, for the base, iteration 1 and the last one."""
    run, means, own = make_run(tmp_path / "run")
    for iteration, name in ((0, "before"), (1, "1"), (None, "2"), (2, "2")):
        cell = benchmark_cells([run], FOUR, iteration)["attribute"]
        expected = np.mean([means[name][own == category].mean() for category in CATEGORIES[:3]])
        assert cell.value == pytest.approx(expected)
        assert cell.n == 9
        assert cell.ci_low <= cell.diff <= cell.ci_high
    assert set(benchmark_cells([run], FOUR, None)) == {"attribute", "complex"}
    assert benchmark_cells([run], FOUR, 3) == {}


def test_seeds_are_averaged_by_prompt(tmp_path):
    """Two seeds: the figures of each prompt are averaged first, so n stays the number of prompts."""
    (left, first, _), (right, second, _) = make_run(tmp_path / "a", 1), make_run(tmp_path / "b", 2)
    cell = benchmark_cells([left, right], [OVERALL], None)["overall"]
    expected = paired_difference(
        (first["before"] + second["before"]) / 2, (first["2"] + second["2"]) / 2
    )
    assert (cell.diff, cell.ci_low, cell.ci_high, cell.n) == pytest.approx(
        (expected.diff, expected.ci_low, expected.ci_high, 12)
    )


def test_another_headline_than_shares_of_facts_is_taken_from_the_summary(tmp_path):
    """Where the images' facts are not the benchmark's measure, its own summary counts."""
    run, means, own = make_run(tmp_path / "run", metric_shift=0.1)
    cells = benchmark_cells([run], [*FOUR, OVERALL], None)
    assert cells["overall"].value == pytest.approx(means["2"].mean())
    expected = np.mean([means["2"][own == category].mean() for category in CATEGORIES[:3]])
    assert cells["attribute"].value == pytest.approx(expected)
    assert cells["attribute"].ci_low < cells["attribute"].diff < cells["attribute"].ci_high
    assert set(benchmark_cells([run], [*FOUR, OVERALL], 1)) == {"overall"}
    assert benchmark_cells([run], [OVERALL], 0)["overall"].diff == 0


def test_categories_that_the_paper_has_not_get_columns_of_their_own(tmp_path):
    """A benchmark's other categories are shown beside the paper's columns."""
    run, _, _ = make_run(tmp_path / "run")
    assert [column.name for column in own_columns(run, (PaperColumn("attribute", CATEGORIES[:3]),))] == ["complex"]


def test_the_stratified_interval_resamples_inside_each_group():
    """Groups that do not vary inside have no width, however far apart; one group is the plain case."""
    assert stratified_interval([np.zeros(5), np.ones(9)]) == (0.5, 0.5)
    values = np.random.default_rng(0).normal(size=400)
    low, high = stratified_interval([values])
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.05)


def test_spearman_is_the_rank_correlation_with_mid_ranks():
    """1 and -1 for the same and the opposite order, the textbook value with ties, None without order."""
    assert spearman([1, 2, 5], [3, 4, 90]) == pytest.approx(1)
    assert spearman([1, 2, 5], [9, 4, 1]) == pytest.approx(-1)
    assert spearman([1, 2, 2, 4], [1, 2, 3, 4]) == pytest.approx(0.9486832980505138)
    assert spearman([1, 1, 1], [1, 2, 3]) is None


def test_only_pairs_whose_intervals_do_not_overlap_count_as_apart():
    """Each such pair is named with whether the paper has it in the same order; two rows are no order."""
    def cell(diff, half):
        return MeasuredCell(0.5 + diff, diff - half, diff + half, 9, 0.5, diff)

    cells = {"a": cell(0.1, 0.01), "b": cell(0.05, 0.01), "c": cell(0.055, 0.02), "d": cell(0.0, math.nan)}
    order = compare_order("x", cells, {"a": 1.0, "b": 2.0, "c": 1.0, "d": 0.0})
    assert order.pairs == 6
    assert order.separated == (("a", "b", False), ("a", "c", None))
    assert compare_order("x", cells, {"a": 1.0, "b": 2.0}) is None


# -------------------------------------------------------------------------------------------- files

SCORES = {"color": [[0.1, 0.5, 0.9], [0.0, 0.2, -0.3]], "complex": [[-0.5, 0.4, 0.1]]}


COLUMNS = (PaperColumn("color", ("color",)),)


def result(chart=None, measure="benchmark"):
    """Return a small finished reproduction: a base, two points, one row that is not possible."""
    rows = [
        Row("base", iteration=0, paper=(10.0,), x=0.5, group="panel"),
        Row("good", {"scorer": "x"}, paper=(30.0,), x=1.0, group="panel"),
        Row("better|<b>", paper=(20.0,), x=2.0, group="panel"),
        Row("missing", group="other panel", x=1.0),
    ]
    cells = [
        MeasuredCell(0.3, 0.0, 0.0, 5, 0.3, 0.0), MeasuredCell(0.5, 0.1, 0.3, 5, 0.3, 0.2), MeasuredCell(0.6, 0.2,
            0.4, 5, 0.3, 0.3),
    ]
    lines = [
        Line(Plan(row, "toy", runs=(f"{row.x}",)), {"color": cell, "overall": cell}, SCORES)
        for row, cell in zip(rows, cells, strict=False)
    ]
    lines.append(Line(Plan(rows[3], "toy", reason="it needs mlp_blocks. Take another.\nOr so.")))
    experiment = Experiment(
        "fig0", "Figure 0", "About it.", COLUMNS, tuple(rows), measure=measure, chart=chart
    )
    columns, notes = (*COLUMNS, OVERALL), ("A note.",)
    return Reproduction(experiment, Request("toy"), columns, tuple(lines), (), notes, "facts", {})


def test_every_row_is_in_every_file_also_the_impossible(tmp_path):
    """Markdown, CSV and JSON hold each row with our figure, the paper's, or the reason why there is none."""
    files = write_results(result(), tmp_path)
    assert [path.name for path in files] == ["fig0.md", "fig0.csv", "fig0.json"]
    page = (tmp_path / "fig0.md").read_text()
    assert "0.500 (+0.200) <br>[+0.100, +0.300] <br>paper 30.00 (+20.00)" in page
    assert "not possible with toy: it needs mlp_blocks" in page
    assert "Take another. Or so." in page
    assert "A note." in page
    with (tmp_path / "fig0.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [row["row"] for row in rows] == [name for row in result().lines for name in [row.name] * 2]
    assert [row["status"] for row in rows[-2:]] == ["not possible"] * 2
    assert rows[2]["paper_diff"] == "20.0"
    assert json.loads((tmp_path / "fig0.json").read_text())["rows"] == as_object(result())["rows"]


def test_names_cannot_break_the_markdown_table():
    """A name with a bar or markup stays text in its own cell."""
    table = [line for line in markdown(result()).splitlines() if line.startswith("| ")]
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert "<b>" not in markdown(result())


@pytest.mark.parametrize(
    "chart",
    [
        Chart("lines", ("color",), paper=True), Chart("lines", ("color",), log_x=True),
        Chart("boxes", ("color", "overall")),
    ],
)
def test_a_figure_is_sampled_as_svg_and_png_with_its_words(chart):
    """Both files are images, the SVG holds titles and labels and says what lacks; same bytes again."""
    measure = "scores" if chart.form == "boxes" else "benchmark"
    made = result(chart, measure)
    files = plot(made)
    assert files["png"].startswith(b"\x89PNG")
    text = files["svg"].decode()
    for words in ("Figure 0", "color", "no numbers"):
        assert words in text
    assert plot(made) == files


def test_without_matplotlib_a_figure_says_how_to_get_it_before_it_runs(monkeypatch, tmp_path):
    """The error names the extra, at once; tables need no matplotlib."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"pip install 'silmm\[figures\]'"):
        reproduce(EXPERIMENTS["fig6"], Request(), tmp_path, registry=None)
    check_plottable(EXPERIMENTS["table3"])
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------- own scores


def test_score_experiments_stop_before_training(run_toy, toy_registry, tmp_path):
    """Their figures are the mean score, the best and the spread of each prompt's own candidates."""
    kinds = ("prompter", "sampler", "questioner", "scorer", "pair_rule", "trainer")
    request = Request("toy", "toy", "7", tuple(f"{kind}=toy" for kind in kinds), seeds=2)
    table = Experiment(
        "fig0", "Figure 0", "", (PaperColumn("toy", ("toy",)),), (Row("toy"),), kind="discrete",
        base={"images_per_prompt": 4}, measure="scores", chart=Chart("boxes", ("toy",)),
    )
    made = reproduce(table, request, tmp_path, registry=toy_registry)
    cells, scores = made.lines[0].cells, np.array(made.lines[0].scores["toy"])
    assert scores.shape == (14, 4)  # 7 prompts of each seed
    assert cells["toy"].value == pytest.approx(scores.mean())
    assert cells["best of each prompt"].value == pytest.approx(scores.max(axis=1).mean())
    assert cells["spread in a prompt"].value == pytest.approx(scores.std(axis=1).mean())
    assert cells == score_cells([tmp_path / "runs" / run for run in made.lines[0].plan.runs], table.columns)
    assert not list(tmp_path.glob("runs/*/iter-1/adapter"))
    assert not list(tmp_path.glob("runs/*/summary.json"))


def test_tables_need_no_matplotlib(silmm_process):
    """Everything that makes and writes a table is imported without it."""
    script = (
        "import sys, silmm.reproduce.result_files, silmm.reproduce.reproduction, silmm_cli.reproduce_cmd;"
        "print('matplotlib' in sys.modules)"
    )
    assert silmm_process("-c", script).stdout == "False\n"
