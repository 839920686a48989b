"""The public face: `import silmm` alone, quick and complete, and each of its functions does its work."""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import silmm
import silmm.bench.images  # binds the package `silmm.bench` to its name, as a user's import does

SETTINGS = dict.fromkeys(
    ("model", "prompter", "sampler", "questioner", "scorer", "pair_rule", "trainer", "benchmark"), "toy"
) | {"prompts": 7, "images_per_prompt": 4, "shard_size": 3}


class Guests:
    """A plugin without a package: a scorer and a distance."""

    @silmm.hookimpl
    def silmm_register_questioners(self, register: silmm.Register) -> None:
        register("nobody", lambda options: None, summary="Asks nothing.")

    @silmm.hookimpl
    def silmm_register_distances(self, register: silmm.Register) -> None:
        register("far", lambda options: None, summary="Far.")


@pytest.fixture(scope="module")
def model() -> silmm.LoadedModel:
    return silmm.load_model("tiny-discrete")


# ---------------------------------------------------------------------------------------- the names


def test_the_face_is_complete():
    """`__all__`, the lazy names and the names for type checkers are the same, and each can be had."""
    tree = ast.parse(inspect.getsource(silmm))
    [typed] = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imported = {alias.name for node in typed.body for alias in node.names}
    assert imported == {*silmm._HOME_OF, "bench"}
    assert sorted(silmm.__all__) == sorted({*imported, "__version__", "SILMM_PLUGIN_API"})
    assert {*silmm.__all__} <= {*dir(silmm)}
    for name in silmm.__all__:
        assert getattr(silmm, name) is not None
    names: dict[str, Any] = {}
    exec("from silmm import *", names)  # noqa: S102 - what a notebook does
    assert {*silmm.__all__} <= {*names}
    with pytest.raises(AttributeError, match="load_modle"):
        silmm.load_modle  # noqa: B018


def test_every_error_is_part_of_the_face_and_drawn():
    """A user can catch each class by `silmm.NAME`; the tree in the module's docstring shows it with its code."""
    from silmm import errors

    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    for error in classes:
        assert getattr(silmm, error.__name__) is error
        [line] = [line for line in errors.__doc__.splitlines() if line.strip("│├└─ ").split(" ")[0] == error.__name__]
        assert str(error.exit_code) in line
        assert error is silmm.SilmmError or error.__doc__.startswith("Raised when")


def test_the_import_is_quick_and_loads_nothing_heavy(silmm_process):
    """`import silmm` computes less than 0.1 s and loads neither torch, numpy nor pydantic, nor does `dir(silmm)`."""
    script = (
        "import time; start = time.process_time(); import silmm; seconds = time.process_time() - start; "
        "dir(silmm); import sys; print(seconds, [m for m in ('torch', 'numpy', 'pydantic') if m in sys.modules])"
    )
    outputs = [silmm_process("-c", script).stdout.split(maxsplit=1) for _ in range(5)]
    assert {loaded.strip() for _, loaded in outputs} == {"[]"}
    assert min(float(seconds) for seconds, _ in outputs) < 0.1


# ------------------------------------------------------------------------------------------- models


def test_images_are_their_prompts_and_seeds_alone(model):
    """PIL images in order, the same in any batch; without seeds they are 0, 1, 2, …."""
    prompts = ["a red circle", "a blue square", "a green ring"]
    images = model.generate(prompts)
    assert [(type(image), image.mode, image.size) for image in images] == [(Image.Image, "RGB", (32, 32))] * 3
    again = model.generate(prompts[::-1], seeds=[2, 1, 0], batch_size=1)[::-1]
    assert [image.tobytes() for image in again] == [image.tobytes() for image in images]
    assert model.generate(prompts, temperature=0.01)[0].tobytes() != images[0].tobytes()


def test_answers_are_two_probabilities_per_question(model):
    """One list of questions is asked of every image, a list of lists one by one; arrays count like PIL images."""
    images = model.generate(["a red circle", "a blue square"])
    texts = ["Is there a red circle?", "Is there a blue square?"]
    shared = model.ask(images, texts)
    assert [answers.shape for answers in shared] == [(2, 2), (2, 2)]
    assert [answers[:, 0].argmax() for answers in shared] == [0, 1]
    own = model.ask([np.asarray(image) for image in images], [texts[:1], texts])
    np.testing.assert_allclose(own[0], shared[0][:1], atol=1e-6)
    np.testing.assert_allclose(own[1], shared[1], atol=1e-6)
    assert model.ask([], []) == []


def test_chat_answers_each_text(model):
    """The embedded model splits a prompt into statements when it is asked to."""
    replies = model.chat(["a red circle", "a blue square and a green ring"], task="decompose")
    assert [len(reply.split(" ; ")) for reply in replies] == [1, 2]


@pytest.mark.parametrize(("call", "message"), [
    (lambda model: model.generate("a red circle"), "give a list of texts"),
    (lambda model: model.generate(["a zebra"]), "cannot read the prompt 'a zebra'"),
    (lambda model: model.generate(["a red circle"], seeds=[1, 2]), "1 texts and 2 seeds"),
    (lambda model: model.ask([], "is it red?"), "give a list of texts"),
    (lambda model: model.ask([0], ["is it red?", ["is it blue?"]]), "mixes texts and lists"),
    (lambda model: model.ask([0], [["is it red?"], ["is it blue?"]]), "1 images and 2 lists"),
    (lambda model: model.chat("a red circle"), "give a list of texts"),
])
def test_wrong_arguments_are_refused(model, call, message):
    """Each message says what was given and what to give."""
    with pytest.raises(silmm.UsageError, match=message):
        call(model)


def test_a_model_takes_its_options_an_adapter_and_a_path(model, tmp_path):
    """An adapter changes what the model says, taking it off brings the base back; wrong options are refused."""
    import torch

    from silmm.lora.adapters import new_adapter, save_adapter, trainable_parameters

    torch.manual_seed(0)
    image = model.generate(["a red circle"])
    base = model.ask(image, ["is there a red circle?"])[0]
    new_adapter(model.model, rank=4, alpha=400.0, seed=1)
    for weight in trainable_parameters(model.model).values():
        torch.nn.init.normal_(weight)
    save_adapter(model.model, tmp_path / "adapter")
    tuned = silmm.load_model("tiny-discrete", tmp_path / "adapter", device="cpu")
    assert np.abs(tuned.ask(image, ["is there a red circle?"])[0] - base).max() > 1e-3
    for loaded in (tuned, model):
        loaded.load_adapter(None)
        np.testing.assert_allclose(loaded.ask(image, ["is there a red circle?"])[0], base, atol=1e-6)
    with pytest.raises(silmm.UsageError, match="no option 'devise'"):
        silmm.load_model("tiny-discrete", devise="cpu")
    with pytest.raises(silmm.UsageError, match="tiny-discrete:DIR: the model 'tiny-discrete' takes no path"):
        silmm.load_model("tiny-discrete:DIR")


# ------------------------------------------------------------------------------ runs and benchmarks


def test_a_run_is_one_call_and_goes_on(toy_registry, tmp_path, monkeypatch):
    """Equal arguments find the run again, in the folder that the command line uses; it ends with a report."""
    monkeypatch.chdir(tmp_path)
    result = silmm.run(**SETTINGS, sets={"trainer.max_steps": 3}, registry=toy_registry)
    assert result.run_dir.parent == Path("runs")
    assert (result.run_dir / "report" / "index.html").is_file()
    assert json.loads((result.run_dir / "run.json").read_text())["settings"]["options"]["trainer"]["max_steps"] == 3
    again = silmm.run(**SETTINGS, sets=["trainer.max_steps=3"])
    assert again.run_dir == result.run_dir
    assert again.summary["overall"] == result.summary["overall"]
    with pytest.raises(silmm.SettingsChanged):
        silmm.run(**SETTINGS, run_dir=result.run_dir)
    with pytest.raises(silmm.UsageError, match="no setting 'promts'"):
        silmm.run(promts=3)


def test_a_model_is_scored_and_ranked(tmp_path):
    """`silmm.bench` is a package and a function; its results make a leaderboard as text of each format."""
    [result] = silmm.bench("shapes", model="tiny-discrete", limit=4, out=tmp_path)
    assert isinstance(result, silmm.Result)
    assert result.path.is_file()
    board = silmm.leaderboard([result])
    assert str(board).startswith("### Shapes")
    assert str(board) == silmm.leaderboard([tmp_path]).to("md")
    assert "<table" in board._repr_html_()
    assert json.loads(board.to("json"))
    with pytest.raises(silmm.UsageError, match="no format 'xls'"):
        board.to("xls")
    with pytest.raises(silmm.UsageError, match=r"bench takes no 'limits'.*did you mean 'limit'"):
        silmm.bench("shapes", model="tiny-discrete", limits=4)


# ---------------------------------------------------------------------------------------- components


def test_components_are_built_from_their_options():
    """Options are checked and completed; a trainer takes a kernel that was built."""
    sampler = silmm.build("sampler", "nucleus", temperature=0.5)
    assert sampler is not None
    kernel = silmm.build("kernel", "avgpool-cos")
    assert silmm.build("trainer", "kc-dpo", kernel=kernel, max_steps=5, warmup_steps=1) is not None
    with pytest.raises(silmm.UsageError, match=r"'temprature' \(given by temprature=…\).*did you mean"):
        silmm.build("sampler", "nucleus", temprature=0.5)


def test_a_plugin_needs_no_package(tmp_path):
    """What `Registry.add` brings is found and built, also in kernels; runs with several workers refuse it."""
    registry = silmm.Registry.load()
    registry.entries("kernel")
    registry.add(Guests(), name="guests", version="2")
    entry = registry.entry("questioner", "nobody")
    assert (entry.qualified, entry.version) == ("guests/nobody", "2")
    assert registry.entry("kernel", "avgpool-far").halves[1].distribution == "guests"
    with pytest.raises(silmm.UsageError, match="load installed plugins only, and guests was added"):
        silmm.run(workers=2, registry=registry, run_dir=tmp_path / "run")
    with pytest.raises(silmm.PluginError, match="already loaded"):
        registry.add(Guests(), name="guests")

