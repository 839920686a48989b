"""`silmm plugins`: the list, one component in full, and the broken ones beside them."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from silmm_cli import main

GOOD = """
from pydantic import Field
from silmm import hookimpl
from silmm.contracts.options import Options

class Opt(Options):
    top_p: float = Field(0.9, le=1, description="mass kept",
                         json_schema_extra={"unit": "probability", "paper": "Sec. 4.1"})

@hookimpl
def silmm_register_samplers(register):
    register("good", print, summary="A good [red]sampler[/red].", options=Opt,
             requires=("nucleus",))

@hookimpl
def silmm_register_models(register):
    register("toy", print, summary="A toy.", kind="discrete", capabilities=("nucleus", "chat"),
             defaults={"sampler/nucleus.top_p": 0.5})

@hookimpl
def silmm_register_aggregations(register):
    register("pool", print, summary="A pool.", paper="Sec. 5")

@hookimpl
def silmm_register_distances(register):
    register("far", print, summary="A distance.", options=Opt)

@hookimpl
def silmm_register_commands(cli):
    @cli.command(short_help="Wave a hand.")
    def wave():
        print("hello")
"""


@pytest.fixture
def silmm(fake_distribution, monkeypatch):
    fake_distribution("kit", {"kit": "kit_plugin"}, {"kit_plugin": GOOD}, version="3.1")
    fake_distribution("ill", {"ill": "ill_plugin"}, {"ill_plugin": "import nowhere_at_all"})
    monkeypatch.setenv("SILMM_LOAD_PLUGINS", "kit,ill")
    monkeypatch.setattr(main, "_extra", None)
    return lambda *arguments: CliRunner().invoke(main, arguments)


def test_the_list_names_every_component_and_the_broken_plugins_reason(silmm):
    """The table shows kind, name, summary (markup unread) and distribution, then broken plugins."""
    result = silmm("plugins")
    assert result.exit_code == 0
    rows = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "sampler good A good [red]sampler[/red]. kit 3.1" in rows
    assert "model toy A toy. kit 3.1" in rows
    assert any(row.startswith("broken ill ModuleNotFoundError") for row in rows)


def test_kind_restricts_the_list(silmm):
    """--kind shows one kind alone and refuses an unknown one with a suggestion."""
    actual = json.loads(silmm("plugins", "--kind", "model", "--json").stdout)["components"]
    assert [entry["name"] for entry in actual] == ["toy"]
    result = silmm("plugins", "--kind", "modle")
    assert result.exit_code == 2
    assert "did you mean 'model'" in result.stderr


def test_the_json_list_is_stable_and_alone_on_stdout(silmm):
    """--json prints one object with the documented keys; broken plugins carry their traceback."""
    data = json.loads(silmm("plugins", "--json").stdout)
    assert set(data) == {"components", "broken"}
    model, sampler, *others = data["components"]
    assert [entry["kind"] for entry in others] == ["aggregation", "distance", "kernel"]
    assert sampler == {
        "kind": "sampler",
        "name": "good",
        "summary": "A good [red]sampler[/red].",
        "distribution": "kit",
        "version": "3.1",
        "paper": "",
        "model_kinds": ["discrete", "continuous"],
        "requires": ["nucleus"],
        "needs": [],
    }
    assert model["capabilities"] == ["chat", "nucleus"]
    assert model["defaults"] == {"sampler/nucleus.top_p": 0.5}
    [broken] = data["broken"]
    assert set(broken) == {"name", "value", "distribution", "version", "reason", "traceback"}
    assert "Traceback" in broken["traceback"]


def test_show_gives_options_with_default_unit_and_place_in_the_paper(silmm):
    """One component is shown with its origin and each option's type, default, unit and source."""
    text = silmm("plugins", "show", "sampler", "good").stdout
    for expected in ("kit 3.1", "float, le=1", "0.9", "probability", "Sec. 4.1", "mass kept"):
        assert expected in text
    [option] = json.loads(silmm("plugins", "show", "sampler", "good", "--json").stdout)["options"]
    assert option == {
        "name": "top_p",
        "type": "float, le=1",
        "default": 0.9,
        "unit": "probability",
        "paper": "Sec. 4.1",
        "description": "mass kept",
    }


def test_show_of_a_kernel_tells_of_its_two_halves(silmm):
    """Each half stands with its distribution, its place in the paper and its own options."""
    text = silmm("plugins", "show", "kernel", "pool-far").stdout
    assert "pool from kit 3.1 (Sec. 5); options: none" in text
    assert "far from kit 3.1; options: top_p" in text
    shown = json.loads(silmm("plugins", "show", "kernel", "pool-far", "--json").stdout)
    half = {"distribution": "kit", "version": "3.1"}
    assert shown["aggregation"] == {"name": "pool", "paper": "Sec. 5", "options": [], **half}
    assert shown["distance"] == {"name": "far", "paper": "", "options": ["top_p"], **half}
    assert [option["name"] for option in shown["options"]] == ["top_p"]
    assert shown["problem"] == ""


def test_show_of_an_unknown_name_tells_why_a_broken_plugin_may_be_it(silmm):
    """The broken plugin's traceback is printed on stderr and the exit code is that of plugins."""
    result = silmm("plugins", "show", "sampler", "absent")
    assert result.exit_code == 3
    assert result.stdout == ""
    assert "nowhere_at_all" in result.stderr


def test_commands_of_plugins_stand_beside_the_built_in_ones(silmm):
    """A plugin's command is in the help and runs; the broken plugin beside it is only mentioned."""
    help_text = silmm("--help")
    assert help_text.exit_code == 0
    assert "Wave a hand." in help_text.stdout
    assert "ill" in help_text.stderr
    assert silmm("wave").stdout == "hello\n"
    unknown = silmm("waev")
    assert unknown.exit_code == 2
    assert "did you mean 'wave'" in unknown.stderr
