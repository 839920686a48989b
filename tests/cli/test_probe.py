"""`silmm probe` and `--model NAME:PATH`: what is shown, what is found, and what is refused."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from silmm_plugins.models.tiny_discrete.model import TinyDiscrete
from silmm_plugins.models.tiny_discrete.options import WEIGHTS

from silmm import probe
from silmm.engine import settings_resolution
from silmm.errors import UsageError
from silmm.registry.component_path import split_component
from silmm.registry.registry import Registry
from silmm_cli import main

PLUGIN = """
from pathlib import Path

from pydantic import Field

from silmm import hookimpl
from silmm.contracts.options import Options


class FolderOptions(Options):
    path: str = Field("", description="folder of the weights")


def build(options):
    from silmm_plugins.models.tiny_discrete.model import TinyDiscrete

    class Telling(TinyDiscrete):
        def probe(self):
            ids = {"yes": self.vocabulary.yes, "no": self.vocabulary.no}
            problems = ["yes and no share an id"] if "bad" in options.path else []
            return {"answer_ids": ids, "path": options.path, "problems": problems}

    return Telling.load(Path(options.path.replace("bad:", "")))


@hookimpl
def silmm_register_models(register):
    register("in-folder", build, options=FolderOptions, summary="Tiny, from a folder.", kind="discrete",
             capabilities=("chat", "yes_no", "log_likelihood", "token_log_likelihood", "nucleus"))
"""


JUDGE = """
import numpy as np

from pydantic import Field

from silmm import hookimpl
from silmm.contracts.options import Options


class FolderOptions(Options):
    weights: str = Field("", description="folder of the weights")


class Lenient:
    identity = {"judge": "lenient"}

    def canaries(self):
        return ["says yes to all"] if self.bad else []


def build(options):
    judge = Lenient()
    judge.bad = "bad" in options.weights
    return judge


@hookimpl
def silmm_register_judges(register):
    for name in ("lenient", "tiny-discrete"):
        register(name, build, options=FolderOptions, summary="A judge without a prober.")
"""


@pytest.fixture
def lenient(fake_distribution):
    """Install a judge that has no prober, under its own name and under that of a base model."""
    fake_distribution("silmm-lenient", {"lenient": "silmm_lenient"}, {"silmm_lenient": JUDGE})


@pytest.fixture
def in_folder(fake_distribution):
    """Install a model that takes a path and tells of its checkpoint."""
    fake_distribution("silmm-in-folder", {"in-folder": "silmm_in_folder"}, {"silmm_in_folder": PLUGIN})


def silmm(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_path_becomes_the_models_option(in_folder):
    """Everything after the first colon goes to `path`, ahead of `--set`; a bare name stays as it is."""
    registry = Registry.load()
    assert split_component(registry, "in-folder", ["a.b=1"]) == ("in-folder", ("a.b=1",))
    assert split_component(registry, "in-folder:C:/x", ["a.b=1"]) == (
        "in-folder", ("model.path=C:/x", "a.b=1")
    )
    assert split_component(registry, "silmm-in-folder/in-folder:org/name", ()) == (
        "silmm-in-folder/in-folder", ("model.path=org/name",)
    )


@pytest.mark.parametrize(
    ("model", "sets", "message"),
    [
        ("tiny-discrete:DIR", (), "takes no path.*Those that take a path:.*in-folder"),
        ("in-folder:", (), "ends with its colon"),
        ("in-folder:a", ("model.path=b",), "both give the path"),
        ("in-foldr:a", (), "in-folder"),
    ],
)
def test_a_path_that_cannot_be_used_is_refused(in_folder, model, sets, message):
    """Each message says what was given and what to write."""
    with pytest.raises(UsageError, match=message):
        split_component(Registry.load(), model, sets)


def test_run_and_reproduce_take_a_path(in_folder, monkeypatch, tmp_path):
    """The settings of a run hold name and path apart; the rows of a table take the same."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "DIR").mkdir()
    (tmp_path / "DIR" / "config.json").write_text("{}")
    registry = Registry.load()
    settings = settings_resolution.resolve_settings(registry, flags={"model": "in-folder:DIR"})
    assert (settings.model, settings.options["model"]["path"]) == ("in-folder", "DIR")
    with pytest.raises(UsageError, match=r"--model in-folder:DIR and --set model\.path=X both"):
        settings_resolution.resolve_settings(registry, flags={"model": "in-folder:DIR"}, sets=["model.path=X"])
    rows = silmm("reproduce", "table4", "--model", "in-folder:DIR", "--list", "--json")
    assert rows.exit_code == 0, rows.output
    assert '"in-folder"' in rows.stdout
    assert silmm("reproduce", "table4", "--model", "tiny-discrete:DIR", "--list").exit_code == 2


def test_a_sound_checkpoint_is_reported_and_passes(in_folder, tmp_path):
    """Facts of the checkpoint, every step with its time, memory, and the two images."""
    result = silmm("probe", f"in-folder:{WEIGHTS}", "--json", "--images", tmp_path / "seen")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["ok"] is True
    ids = data["facts"]["checkpoint"]["answer_ids"]
    assert ids["yes"] != ids["no"]
    assert data["facts"]["peak memory, MB"]["process"] > 100
    assert [check["name"] for check in data["checks"]] == [
        "load", "registration", "checkpoint", "reads", "represent", "decode", "yes_no", "chat", "batch",
        "train step",
    ]
    assert {check["state"] for check in data["checks"]} == {"ok"}
    assert sorted(path.name for path in (tmp_path / "seen").iterdir()) == ["0.png", "1.png"]


def test_what_a_checkpoint_complains_of_fails(in_folder):
    """A problem that the plugin tells is a failed check and exit code 1; the rest is still done."""
    result = silmm("probe", f"in-folder:bad:{WEIGHTS}")
    assert result.exit_code == 1
    assert "fail checkpoint:   yes and no share an id" in result.stdout
    assert "ok   train step:" in result.stdout


def test_a_folder_that_does_not_load_is_the_plugins_own_error(in_folder, tmp_path):
    """The message names the folder; the exit code is that of data."""
    result = silmm("probe", f"in-folder:{tmp_path}")
    assert result.exit_code == 4
    assert str(tmp_path) in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prompt", "a red circle"], "two different prompts"),
        (["--set", "sampler.top_p=1"], "options of the model only"),
        (["--image", "a.png"], "is asked about the images that it samples"),
        (["--set", "model.colour=red"], "no option 'colour'"),
    ],
)
def test_wrong_usage_is_refused(arguments, message):
    """One prompt, an option of something else, and an unknown option are named."""
    result = silmm("probe", "tiny-discrete", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


BREAKS = {
    "batch": ("log_likelihood", lambda right, p, z: right(p, z) - len(p)),
    "yes_no": ("yes_no", lambda right, i, q: [a + 1 for a in right(i, q)]),
    "train step": ("log_likelihood", lambda right, p, z: right(p, z).detach()),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_model_that_does_not_work_is_found(name, monkeypatch):
    """Padding that counts, numbers that are no probabilities and gradients that are cut fail by name."""
    method, wrong = BREAKS[name]
    right = getattr(TinyDiscrete, method)
    monkeypatch.setattr(TinyDiscrete, method, lambda self, *a: wrong(lambda *b: right(self, *b), *a))
    actual = probe.probe(Registry.load(), "tiny-discrete", {})
    assert not actual.sound
    assert [finding.name for finding in actual.findings if finding.state == "fail"] == [name]


def test_prompts_that_cannot_be_read_end_the_smoke():
    """Nothing is sampled from a prompt that the model refuses; the message says what to give."""
    result = silmm("probe", "tiny-discrete", "--prompt", "ein Kreis", "--prompt", "a circle")
    assert result.exit_code == 1
    assert "cannot read 'ein Kreis'; give two others with --prompt" in result.stdout
    assert "represent" not in result.stdout


def test_the_run_command_shows_the_path():
    """The help says that a model may take one."""
    assert "NAME[:PATH]" in silmm("run", "--help").stdout


def test_a_judge_without_a_prober_is_loaded_and_asks_its_own_canaries(lenient):
    """A judge of another plugin needs nothing more than it has for a benchmark."""
    result = silmm("probe", "lenient", "--json")
    data = json.loads(result.stdout)
    assert (result.exit_code, data["judge"]) == (0, "silmm-lenient/lenient")
    checks = {check["name"]: check["state"] for check in data["checks"]}
    assert checks == {"load": "ok", "canaries": "ok"}
    result = silmm("probe", "lenient:bad")
    assert result.exit_code == 1
    assert "fail canaries:     says yes to all" in result.stdout


def test_the_name_decides_the_kind(lenient):
    """A name of both kinds asks for --kind or its distribution; an unknown one lists what there is."""
    both = silmm("probe", "tiny-discrete")
    assert both.exit_code == 2
    assert "say which with --kind model or --kind judge" in both.stderr
    assert json.loads(silmm("probe", "tiny-discrete", "--kind", "judge", "--json").stdout)["ok"] is True
    assert json.loads(silmm("probe", "silmm-lenient/tiny-discrete", "--json").stdout)["ok"] is True
    unknown = silmm("probe", "lenint")
    assert unknown.exit_code == 2
    assert "did you mean 'lenient'?" in unknown.stderr
    assert "Judges: " in unknown.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lenient", "--images", "DIR"], "samples no images"),
        (["lenient", "--set", "model.device=cpu"], "options of the judge only"),
        (["lenient:"], "ends with its colon"),
        (["lenient:a", "--set", "judge.weights=b"], "both give the path"),
        (["shapes-parser:a"], "takes no path"),
    ],
)
def test_wrong_usage_of_a_judge_is_refused(lenient, arguments, message):
    """Images to write, options of a model, an empty path, two paths, and a judge without files."""
    result = silmm("probe", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_the_path_of_a_judge_is_its_first_option_for_one(lenient):
    """It is the option that `silmm bench --judge ROLE=NAME:PATH` fills."""
    actual = split_component(Registry.load(), "lenient:C:/x", ["a.b=1"], "judge")
    assert actual == ("lenient", ("judge.weights=C:/x", "a.b=1"))
