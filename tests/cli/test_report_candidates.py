"""What the report promises of candidates and iterations: scores, diversity, chosen and rejected, courses."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from silmm.contracts.records import CANDIDATES, SCORES, prompt_id
from silmm.report import write_report
from silmm.report.charts import histogram, interval_chart
from silmm.report.reading import read_run
from silmm.report.scores import ScoreSpread, sampler_label
from silmm.storage.atomic_files import atomic_write
from silmm.storage.json_files import read_json, to_json
from silmm.storage.shards import Shards
from tests.cli.report_run import EVIL, Page, figures, image, make_run


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def change(path, **changed):
    """Change entries of a JSON file."""
    atomic_write(path, to_json({**read_json(path), **changed}))


def cells(run):
    return re.findall(r"<td[^>]*>([^<]*)</td>", write_report(run).read_text())


def following(actual, start, count):
    """Return the `count` cells after a run of cells."""
    for index in range(len(actual)):
        if actual[index : index + len(start)] == start:
            return actual[index + len(start) : index + len(start) + count]
    raise AssertionError(f"{start} is not in {actual}")


def test_scores_are_told_per_iteration_with_the_sampler(run):
    """Number, mean, mean of the best and deviation of the candidates' scores, with sampler and options."""
    settings = read_json(run / "run.json")["settings"]
    options = {**settings["options"], "sampler": {"rate": 0.1, "layers": "last:4", "batch_size": 128}}
    change(run / "run.json", settings={**settings, "sampler": "dropdiv", "options": options})
    assert following(cells(run), ["1", "8"], 4) == ["+0.300", "+0.900", "+0.600", "0.447"]
    shown = Page(write_report(run).read_text()).text
    assert "iteration 1 · dropdiv (layers last:4, rate 0.1)" in shown
    assert "all candidates (n=8, mean 0.3)" in shown
    assert "best of each prompt (n=2, mean 0.9)" in shown
    assert "chosen (n=2, mean 0.9)" in shown
    assert "rejected (n=2, mean -0.3)" in shown


def test_candidates_without_a_score_are_not_in_the_distribution(run):
    """A null score is neither a candidate of the histogram nor a best one."""
    shards = Shards(run / "iter-1/scores", 1)
    rows = shards.table().to_pylist()
    for row in rows[:4]:
        row |= {"score": None, "status": "non-finite"}
    shards.commit(0, pa.Table.from_pylist(rows, schema=SCORES))
    spread = ScoreSpread.of(read_run(run).iterations[0])
    assert (len(spread.scores), spread.best) == (4, [0.9])


def test_a_sampler_without_options_is_its_name():
    """Nothing empty stands in brackets."""
    assert sampler_label({"sampler": "rephrase"}) == "rephrase"


def test_a_mean_is_sampled_where_it_lies():
    """The dashed line of a layer stands at the mean of its finite values, in the layer's colour."""
    chart = histogram("s", {"a": [-1.0, 0.0, float("nan")], "b": [1.0]}, span=(-1, 1), means=True)
    lines = [shape for shape in chart.drawing.shapes if "mean" in shape.css]
    assert [line.css for line in lines] == ["line mean c1", "line mean c2"]
    assert [line.geometry["x1"] for line in lines] == ["117.0", "330.0"]  # the axis runs from 46 to 330


def test_diversity_by_pixels(run):
    """Grey images 40 levels apart have the mean of their distances; no two of them are equal."""
    expected = (3 * 40 + 2 * 80 + 120) / 6 / 255
    assert following(cells(run), ["1", f"{expected:.3f}"], 3) == ["1.00", "–", "2"]


def test_equal_candidates_have_no_diversity(run):
    """Four equal images are one distinct image of four, and 0 apart."""
    shards = Shards(run / "iter-1/candidates", 1)
    rows = [{**row, "image": image(7)} for row in shards.table().to_pylist()]
    shards.commit(0, pa.Table.from_pylist(rows, schema=CANDIDATES))
    assert following(cells(run), ["1", "0.000"], 1) == ["0.25"]


def test_diversity_by_facts_is_the_benchmarks_figure(run):
    """The figure of an iteration stands in its row and not among those of the self-feedback."""
    change(run / "summary.json", extra={"candidates_facts_differ_1": 0.375})
    actual = cells(run)
    assert actual.count("0.375") == 1
    assert actual[actual.index("0.375") + 1] == "2"
    assert "Self-feedback" not in write_report(run).read_text()


def test_chosen_and_rejected_stand_side_by_side(run):
    """Each side shows the images of its candidates with their scores, and the pairs' gap."""
    page = write_report(run)
    section = page.read_text().split("Chosen and rejected")[1].split("Where this run deviates")[0]
    chosen, rejected = re.search(r"<h4>chosen</h4>(.*?)<h4>rejected</h4>(.*?)<h4>chosen", section, re.S).groups()
    for side, candidate, score in ((chosen, 0, "+0.900"), (rejected, 3, "-0.300")):
        assert re.findall(r"<figcaption>([^<]*)<", side) == [score]
        source = re.search(r'src="([^"]*)"', side)[1]
        assert (page.parent / source).read_bytes() == image(40 * candidate)["bytes"]
    assert "widest gap: 1.200" in section


def test_the_course_over_the_iterations_has_its_intervals(run):
    """With more than one iteration, each one's figures against the base are sampled and in a table."""
    assert "Each iteration against the base" not in write_report(run).read_text()
    change(
        run / "summary.json",
        iterations={"1": figures(0.6, 0.7), "10": figures(0.6, 0.75), "2": figures(0.6, 0.64)},
        secondary_by_iteration={"VQA accuracy": {"1": figures(0.93, 0.92), "2": figures(0.93, 0.91)}},
    )
    text = write_report(run).read_text()
    order = [text.index(f"facts, iteration {number}<") for number in (1, 2, 10)]
    assert order == sorted(order)
    actual = cells(run)
    assert following(actual, ["facts, iteration 2"], 4) == ["0.600", "0.640", "+0.040 ·", "[-0.010, +0.090]"]
    assert following(actual, ["VQA accuracy, iteration 2"], 2) == ["0.930", "0.910"]
    assert text.count('class="dot c1"') == 4 + 3


def test_whiskers_span_the_interval_and_noise_does_not_fill_the_chart():
    """A whisker goes from end to end; an axis covers at least 0.1; without an interval there is none."""
    chart = interval_chart("facts", 0.5, [(1, 0.5, 0.51, 0.52), (2, float("nan"), 0.51, float("nan"))])
    (whisker,) = [shape for shape in chart.drawing.shapes if (shape.element, shape.css) == ("line", "line c1")]
    (base,) = [shape.geometry["y1"] for shape in chart.drawing.shapes if shape.css == "zero"]
    assert whisker.geometry["x1"] == whisker.geometry["x2"]
    assert whisker.geometry["y1"] == base
    assert 0 < float(base) - float(whisker.geometry["y2"]) < 0.2 * 190 + 2
    assert "nan" not in str(chart)


def test_names_of_figures_are_escaped(run):
    """Markup in a measure's name stays text."""
    change(run / "summary.json", iterations={"1": figures(0.6, 0.7), "2": figures(0.6, 0.7)},
           secondary_by_iteration={EVIL: {"1": figures(0.5, 0.5)}})
    page = write_report(run).read_text()
    assert "<script" not in page
    assert EVIL in Page(page).text


def test_a_shard_that_is_missing_leaves_the_rest(tmp_path):
    """A run in the midst of sampling has a report of the candidates that are there."""
    run = make_run(tmp_path / "run")
    for name in ("scores", "pairs", "answers"):
        (run / "iter-1" / name / "shard-00000.json").unlink()
    shown = Page(write_report(run).read_text()).text
    assert "Diversity of the candidates" in shown
    assert "Chosen and rejected" not in shown
    assert prompt_id("a red circle") not in shown
