"""What the declarations of `silmm reproduce` promise: they resolve, and nothing is silently dropped."""

from __future__ import annotations

import numpy as np
import pytest

from silmm.errors import UsageError
from silmm.registry.registry import Registry
from silmm.reproduce.experiment import EIGHT, FOUR, Experiment, PaperColumn, PromptShare, Ranks, Row, Square
from silmm.reproduce.listing import EXPERIMENTS
from silmm.reproduce.paper_tables import ITERATIONS
from silmm.reproduce.row_settings import EMBEDDED, QUICK, Request, plan_rows

NAMES = ("table2", "table3", "table4", "table7", "fig3", "fig4", "fig5", "fig6", "fig7", "fig9")
HOUSE = """
from typing import Literal

from pydantic import Field
from silmm import hookimpl
from silmm.contracts.options import Options

def never(options, **parts):
    raise AssertionError("planning must load nothing")

class Pairs(Options):
    shape: str = Field("", description="S.")
    rejected: str = Field("last", description="R.")

class Drop(Options):
    rate: float = Field(0.3, description="R.")
    layers: str = Field("last:2", description="L.")

class Train(Options):
    max_steps: int = Field(100, description="S.")
    warmup_steps: int = Field(10, description="W.")
    beta: float = Field(0.2, description="B.")

class Gamma(Train):
    gamma: float | Literal["auto"] = Field(3.0, description="G.")
    gamma_scale: float = Field(3.0, description="S.")

@hookimpl
def silmm_register_models(register):
    register("tokens", never, summary="M.", kind="discrete", capabilities=("chat", "nucleus", "yes_no"))
    register("queries", never, summary="M.", kind="continuous", capabilities=("chat", "yes_no"))

@hookimpl
def silmm_register_prompters(register):
    register("self", never, summary="P.")

@hookimpl
def silmm_register_samplers(register):
    register("nucleus", never, summary="S.", requires=("nucleus",))
    for name in ("rephrase", "explain", "noisy-dreamemb"):
        register(name, never, summary="S.")
    register("dropdiv", never, summary="S.", kinds=("continuous",), options=Drop)

@hookimpl
def silmm_register_questioners(register):
    for name in ("self-q", "phrase-q", "prompt-q"):
        register(name, never, summary="Q.")

@hookimpl
def silmm_register_scorers(register):
    for name in ("diff-of-prob", "ratio-of-yes", "random"):
        register(name, never, summary="S.")

@hookimpl
def silmm_register_pair_rules(register):
    register("top-last", never, summary="R.", options=Pairs)

@hookimpl
def silmm_register_trainers(register):
    register("dpo", never, summary="T.", kinds=("discrete",), options=Train)
    register("sft", never, summary="T.", kinds=("continuous",), needs=("kernel",), options=Train)
    register("kc-dpo", never, summary="T.", kinds=("continuous",), needs=("kernel",), options=Gamma)

@hookimpl
def silmm_register_aggregations(register):
    for name in ("none", "maxpool", "avgpool"):
        register(name, never, summary="A.")

@hookimpl
def silmm_register_distances(register):
    for name in ("eucl", "cos"):
        register(name, never, summary="D.")

@hookimpl
def silmm_register_benchmarks(register):
    register("shapes", never, summary="B.")
"""


@pytest.fixture
def house(fake_distribution, monkeypatch):
    """Return a registry with a discrete and a continuous model and every name of the paper."""
    fake_distribution("house", {"one": "reproduce_house"}, {"reproduce_house": HOUSE})
    monkeypatch.setenv("SILMM_LOAD_PLUGINS", "house")
    return Registry.load()


@pytest.mark.parametrize("name", NAMES)
def test_every_row_of_the_paper_resolves_on_its_kind_of_model(house, name):
    """Each row becomes settings on a model of its kind, and holds the values that it declares."""
    experiment = EXPERIMENTS[name]
    plans = [
        plan
        for model, kind in (("tokens", "discrete"), ("queries", "continuous"))
        if kind in experiment.kinds
        for plan in plan_rows(house, experiment, Request(model))
        if (plan.row.kind or experiment.kind) == kind
    ]
    assert {plan.row.name: plan.reason for plan in plans} == {row.name: "" for row in experiment.rows}
    for plan in plans:
        settings = plan.settings[0]
        for key, value in plan.changes.items():
            kind, _, option = key.rpartition(".")
            actual = settings.options[kind][option] if kind else getattr(settings, option)
            assert str(actual) == value, key


def test_the_catalog_is_what_the_command_line_promises():
    """The ten names are there, each with unique rows, and the paper's numbers fill the columns."""
    assert tuple(EXPERIMENTS) == NAMES
    for experiment in EXPERIMENTS.values():
        names = [row.name for row in experiment.rows]
        assert len(set(names)) == len(names)
        assert all(len(row.paper) in (0, len(experiment.columns)) for row in experiment.rows)
        if experiment.chart:
            labels = {column.name for column in experiment.columns} | {"overall"}
            assert set(experiment.chart.columns) <= labels


def test_the_papers_numbers_agree_among_themselves():
    """Rows that are one run in the paper have one number; four categories are means of Table 4's eight."""
    by_name = {
        (name, row.name): row.paper for name, experiment in EXPERIMENTS.items() for row in experiment.rows if row.paper
    }
    best = by_name["table3", "KC-DPO avgpool-cos"]
    assert by_name["table2", "self-q"] == by_name["table2", "diff-of-prob"]
    assert best == by_name["table2", "self-q"][:4]
    assert by_name["table7", "20-30"] == ITERATIONS["continuous"][1]
    names = [column.name for column in EIGHT]
    base, first = ITERATIONS["continuous"][:2]
    for four, eight in ((by_name["table3", "base"], base), (best, first)):
        value = dict(zip(names, eight, strict=True))
        for column, number in zip(FOUR, four, strict=True):
            own = [value[name.replace("_", "-")] for name in column.categories]
            assert np.mean(own) == pytest.approx(number, abs=0.011)


def test_shares_of_thirty_follow_the_number_of_candidates(house):
    """NxN and LOW-HIGH are the paper's at 30 candidates, and the same shares of any other number."""
    assert [Square(10).at(images, 1) for images in (30, 16, 10, 2)] == ["10x10", "5x5", "3x3", "1x1"]
    assert [Ranks(14, 24).at(images, 1) for images in (30, 16, 15)] == ["14-24", "8-13", "7-12"]
    ranks = [Ranks(high - 10, high).at(16, 1) for high in (24, 26, 28, 30)]
    assert ranks == ["8-13", "9-14", "10-15", "11-16"]
    assert PromptShare(0.25).at(10, 512) == 128
    plans = plan_rows(house, EXPERIMENTS["fig4"], Request("tokens", prompts="64"))
    assert [plan.settings[0].prompts for plan in plans[:4]] == [8, 16, 32, 64]


def test_shares_of_a_file_of_prompts_are_not_possible(house, tmp_path):
    """A file's number of prompts is not known here, so those rows say that they need a number."""
    (tmp_path / "own.txt").write_text("a cat\n")
    plans = plan_rows(house, EXPERIMENTS["fig4"], Request("tokens", prompts=str(tmp_path / "own.txt")))
    assert "--prompts N" in plans[0].reason
    assert plans[8].settings


def test_rows_that_a_model_cannot_do_stay_with_their_reason(house):
    """On a discrete model the continuous rows are kept, each with what is missing."""
    plans = plan_rows(house, EXPERIMENTS["table4"], Request("tokens"))
    assert len(plans) == 8
    assert [bool(plan.settings) for plan in plans] == [True] * 4 + [False] * 4
    assert "continuous" in plans[4].reason
    with pytest.raises(UsageError, match="dropdiv"):
        plan_rows(house, EXPERIMENTS["fig6"], Request("tokens"))


def test_without_a_model_each_kind_has_its_embedded_one(house):
    """Rows name the embedded model of their kind, and say so where it is not installed."""
    with pytest.raises(UsageError, match=r"tiny-discrete(.|\n)*tiny-continuous"):
        plan_rows(house, EXPERIMENTS["table4"], Request())
    assert EMBEDDED == {"discrete": "tiny-discrete", "continuous": "tiny-continuous"}


def test_a_set_reaches_every_row_that_has_the_option(house):
    """--set wins over the base, a row's own setting wins over --set, and a row without it is told."""
    sets = ("trainer.gamma=5", "trainer.max_steps=7", "trainer.warmup_steps=0")
    plans = plan_rows(house, EXPERIMENTS["table3"], Request("queries", sets=sets))
    gammas = {plan.row.name: plan.settings[0].options["trainer"].get("gamma") for plan in plans}
    assert gammas["KC-DPO cos"] == 5
    assert gammas["SFT cos"] is None
    assert {plan.row.group for plan in plans if plan.left_out} == {"SFT"}
    assert {plan.settings[0].options["trainer"]["max_steps"] for plan in plans} == {7}
    sweep = plan_rows(house, EXPERIMENTS["fig7"], Request("queries", sets=("trainer.gamma=5",)))
    assert [plan.changes["trainer.gamma"] for plan in sweep if plan.settings] == [
        "0.75", "1.5", "3.0", "6.0", "12.0", *["auto"] * 5,
    ]
    with pytest.raises(UsageError, match="no component of any row"):
        plan_rows(house, EXPERIMENTS["table3"], Request("queries", sets=("trainer.gama=5",)))


def test_quick_numbers_are_smaller_and_yield_to_the_user(house):
    """--quick sets what the components have, and --prompts comes before it."""
    quick = plan_rows(house, EXPERIMENTS["table7"], Request("queries", quick=True))[0].settings[0]
    assert quick.prompts == QUICK["prompts"]
    assert quick.options["trainer"]["max_steps"] == QUICK["trainer.max_steps"]
    plans = plan_rows(house, EXPERIMENTS["table7"], Request("queries", prompts="9", quick=True))
    assert plans[0].settings[0].prompts == 9
    assert len({plan.changes["pair-rule.rejected"] for plan in plans}) == 4


def test_seeds_and_settings_name_the_runs(house):
    """Seeds differ in the seed alone; other settings lead to other directories, equal ones to the same."""
    plans = plan_rows(house, EXPERIMENTS["table7"], Request("queries", seeds=2))
    assert [settings.seed for settings in plans[0].settings] == [0, 1]
    assert len(set(plans[0].runs)) == 2
    other = plan_rows(house, EXPERIMENTS["table7"], Request("queries", sets=("trainer.max_steps=20",)))
    assert not set(plans[1].runs) & set(other[1].runs)
    again = plan_rows(house, EXPERIMENTS["table7"], Request("queries"))
    assert again[1].runs == plans[1].runs[:1]


def test_a_row_whose_own_option_nobody_has_is_not_possible(house):
    """A row's setting is never dropped: without the option the row would be another row's run."""
    experiment = Experiment(
        "x", "X", "", (PaperColumn("color", ("color",)),),
        (Row("beta", {"trainer.beta": 1}), Row("delta", {"trainer.delta": 1})),
    )
    good, bad = plan_rows(house, experiment, Request("queries"))
    assert good.settings
    assert "delta" in bad.reason


def test_embedded_models_resolve_wherever_they_are_registered():
    """On the installed components a row is possible, or its reason names what is missing."""
    registry = Registry.load({"SILMM_LOAD_PLUGINS": "silmm"})
    for model in registry.entries("model"):
        for experiment in EXPERIMENTS.values():
            try:
                plans = plan_rows(registry, experiment, Request(model.name))
            except UsageError as error:
                assert "is possible" in str(error)
                continue
            assert all(bool(plan.settings) != bool(plan.reason) for plan in plans)
