"""What the report promises of a training: distances before and after, and warnings of over-optimisation."""

from __future__ import annotations

import json
import math
import re

import pytest
from silmm_plugins.training.kc_dpo import KcDpo, KcDpoOptions

from silmm.contracts.training import TrainingJob
from silmm.engine.training_log import TrainingLog
from silmm.report import write_report
from silmm.report.training_curves import CURVES
from silmm.storage.atomic_files import atomic_write
from silmm.storage.json_files import read_json, to_json
from tests.cli.report_run import EVIL, Page, figures, make_run
from tests.plugins.training.feature_preferences import feature_preferences
from tests.plugins.training.training_run import QUICK
from tests.toy.tiny_continuous_random import TinyContinuousRandom

DISTANCES = {
    "chosen_distance": 0.03, "reference_chosen_distance": 0.04, "rejected_distance": 0.09,
    "reference_rejected_distance": 0.06, "drift": 0.02, "gamma_eff": 61.25,
}


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def log(run, *rows):
    """Write the training log of iteration 1; steps are counted from 1."""
    lines = [json.dumps({"step": step, **row}) for step, row in enumerate(rows, start=1)]
    atomic_write(run / "iter-1" / "metrics.jsonl", "".join(f"{line}\n" for line in lines).encode())


def settings(run, **changed):
    """Change settings of the run."""
    stored = read_json(run / "run.json")["settings"]
    atomic_write(run / "run.json", to_json({"settings": {**stored, **changed}}))


def summary(run, **changed):
    """Change parts of the run's summary."""
    stored = read_json(run / "summary.json")
    atomic_write(run / "summary.json", to_json({**stored, **changed}))


def text(run):
    return Page(write_report(run).read_text()).text


def test_kernel_distances_before_and_after(run):
    """The table shows the mean of the last ten steps of both models, and their quotient."""
    early = {**DISTANCES, "chosen_distance": 9.0}
    log(run, early, early, *[DISTANCES] * 10)
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", write_report(run).read_text())
    for row in (["k(H, H_w), to the chosen", "0.04", "0.03", "0.750"],
                ["k(H, H_l), to the rejected", "0.06", "0.09", "1.500"],
                ["k(H, H_r), to the reference", "0", "0.02", "–"]):
        start = cells.index(row[0])
        assert cells[start : start + 4] == row


def test_gamma_anchor_and_kernel_stand_beside_the_distances(run):
    """Gamma as it was set and as it came out, anchor and kernel are shown, in the settings too."""
    options = {"trainer": {"gamma": "auto", "gamma_scale": 3.0, "chosen_weight": 0.5}}
    settings(run, kernel="maxpool-eucl", trainer="kc-dpo", options=options)
    log(run, DISTANCES)
    shown = text(run)
    assert (
        "kernel maxpool-eucl · gamma auto · gamma_scale 3.0 · chosen_weight 0.5 · effective gamma 61.25" in shown
    )
    assert "trainer: effective gamma, iteration 161.25" in shown


def test_distance_curves_are_relative_to_the_reference(run):
    """The curves of k(H, H_w) and k(H, H_l) run over the reference's, whose level is sampled dashed."""
    log(run, {**DISTANCES, "chosen_distance": 0.04, "rejected_distance": 0.06}, DISTANCES)
    page = write_report(run).read_text()
    start = page.index("kernel distance over the reference")
    chart = page[start : page.index("</figure>", start)]
    level = float(re.search(r'class="zero" x1="[\d.]+" x2="[\d.]+" y1="([\d.]+)"', chart)[1])
    lines = [
        [tuple(map(float, point.split(","))) for point in points.split()]
        for points in re.findall(r'<polyline class="line c\d" points="([^"]*)"', chart)
    ]
    assert [line[0][1] for line in lines] == [level, level]
    assert lines[0][1][1] > level > lines[1][1][1]  # nearer to the chosen is lower down
    fallen, risen = lines[0][1][1] - level, level - lines[1][1][1]
    assert risen / fallen == pytest.approx(0.5 / 0.25, rel=0.02)


def test_the_report_knows_the_metrics_of_the_real_trainer(run):
    """Every distance that kc-dpo logs is on the page, and a start at the reference warns of nothing."""
    steps = TrainingLog(run / "iter-1" / "metrics.jsonl")
    (run / "iter-1" / "metrics.jsonl").unlink()
    trainer = KcDpo(KcDpoOptions(**{**QUICK, "max_steps": 2, "warmup_steps": 0, "learning_rate": 1e-9}))
    trainer.train(
        TrainingJob(
            TinyContinuousRandom(), feature_preferences(8), None, run / "adapter", run / "work", 1, steps.append
        )
    )
    shown = text(run)
    for title, names, _ in CURVES:
        expected = not {"chosen_logp", "kl", "score", "token_kl", "validation_score"} & set(names)
        assert (title in shown) == expected, title
    assert "effective gamma 3" in shown
    assert "Warning" not in shown


def test_a_run_of_a_continuous_model_is_compared_with_dreamllm(run, tmp_path):
    """Without image tokens the paper's settings are DreamLLM's; with them SEED-LLaMA's."""
    settings(run, sampler="dropdiv", images_per_prompt=30)
    assert "SEED-LLaMA" in text(run)
    other = make_run(tmp_path / "other", tokens=False)
    settings(other, sampler="dropdiv", images_per_prompt=30)
    shown = text(other)
    assert "DreamLLM" in shown
    assert "images_per_prompt1" not in shown


@pytest.mark.parametrize(("chosen", "warned"), [(0.0403, False), (0.041, True), (0.03, False)])
def test_moving_away_from_the_chosen_is_warned_of(run, chosen, warned):
    """An end of k(H, H_w) by more than rounding above the reference's gives a warning."""
    log(run, *[{**DISTANCES, "chosen_distance": chosen}] * 3)
    assert ("moves away from the chosen" in text(run)) == warned


@pytest.mark.parametrize(("chosen", "warned"), [(0.059, False), (0.061, True)])
def test_the_trainer_says_how_far_is_away(run, chosen, warned):
    """With trainer.warn_rise=0.5 a rise of less than half above the reference's gives no warning."""
    settings(run, options={"trainer": {"warn_rise": 0.5}})
    log(run, {**DISTANCES, "chosen_distance": chosen})
    assert ("moves away from the chosen" in text(run)) == warned


def test_the_warning_names_guards_that_are_not_on(run):
    """It proposes gamma=auto only where gamma is a number, and guards only to trainers that have them."""
    log(run, {**DISTANCES, "chosen_distance": 0.05})
    for options, messages in (
        ({"gamma": 3.0, "chosen_weight": 0.0}, "A trainer.chosen_weight above 0.0, trainer.gamma=auto, a smaller"),
        ({"gamma": "auto", "reference_weight": 0.2, "chosen_weight": 0.5},
         "A trainer.reference_weight above 0.2, a trainer.chosen_weight above 0.5, a smaller"),
        ({"beta": 0.2, "sigma": 1.0}, "0.04. A smaller trainer.learning_rate"),
    ):
        settings(run, options={"trainer": options})
        assert messages in text(run)


@pytest.mark.parametrize(
    ("scores", "margins", "warned"),
    [
        ((0.1, 0.3, 0.1), (0.0, 1.0, 2.0), True),
        ((0.1, 0.0), (0.0, 1.0), True),
        ((0.1, 0.3, 0.25), (0.0, 1.0, 2.0), False),   # less than half of the gain is lost
        ((0.1, 0.3, 0.1), (0.0, 1.0, 0.5), False),    # the margin did not grow
        ((0.1, 0.09), (0.0, 1.0), False),             # noise
        ((0.1, 0.2, 0.3), (0.0, 1.0, 2.0), False),
        ((0.3, math.nan), (0.0, 1.0), False),
    ],
)
def test_a_falling_validation_score_under_a_growing_margin_is_warned_of(run, scores, margins, warned):
    """The held-out score of the training log that falls while the margin grows gives a warning."""
    log(run, *[{"validation_score": None if math.isnan(s) else s, "margin": m}
               for s, m in zip(scores, margins, strict=True)])
    shown = text(run)
    assert ("the policy drifts" in shown) == warned
    assert "self-score on held-out prompts" in shown


@pytest.mark.parametrize(("every", "best", "noted"), [(5, True, True), (0, True, False), (5, False, False)])
def test_a_warning_says_when_the_adapter_is_not_of_the_end(run, every, best, noted):
    """With validation and keep_best, the end that is warned of is not what was written."""
    settings(run, options={"trainer": {"validate_every": every, "keep_best": best}})
    log(run, {"validation_score": 0.3, "margin": 0.0}, {"validation_score": 0.1, "margin": 1.0})
    shown = text(run)
    assert "the policy drifts" in shown
    assert ("The adapter holds the weights of the best validation" in shown) == noted


@pytest.mark.parametrize(
    ("after", "margin", "warned"),
    [(0.3, 2.0, True), (0.3, -0.1, False), (0.37, 2.0, False), (0.5, 2.0, False)],
)
def test_a_lower_own_score_after_the_run_is_warned_of(run, after, margin, warned):
    """A growing margin warns when the interval of the own score's difference lies below 0, only then."""
    log(run, *[{"margin": margin}] * 3)
    summary(run, secondary={"self-score (Eq. 1)": figures(0.4, after)})
    assert ("the policy drifts" in text(run)) == warned


def test_the_iteration_that_drifted_is_named(run):
    """With figures of each iteration, the warning is of the one whose own score fell."""
    (run / "iter-1").rename(run / "iter-2")
    rounds = {"1": figures(0.4, 0.5), "2": figures(0.4, 0.2)}
    summary(run, secondary_by_iteration={"self-score (Eq. 1)": rounds})
    assert "Iteration 2: the policy drifts" in text(run)


def test_no_box_without_a_warning(run):
    """A sound run has no box of warnings, and one without an interval is not warned of either."""
    alone = {**figures(0.4, 0.1), "ci_low": None, "ci_high": None}
    summary(run, secondary={"self-score (Eq. 1)": alone})
    assert 'class="warning"' not in write_report(run).read_text()


def test_settings_of_a_training_are_escaped(run):
    """Markup in the kernel's name or in an option stays text."""
    settings(run, kernel=EVIL, sampler=EVIL, options={"trainer": {"gamma": EVIL}, "sampler": {"x": EVIL}})
    log(run, {**DISTANCES, "chosen_distance": 0.05})
    page = write_report(run).read_text()
    assert "<script" not in page
    assert f"gamma {EVIL}" in Page(page).text
