"""Any base model of silmm is a judge by what it sees itself."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from silmm_benchmarks.judges.base_model_judge import BaseModelJudge
from silmm_benchmarks.judges.options import BaseModelOptions
from silmm_benchmarks.shapes.facts import atomic_facts, question
from silmm_benchmarks.shapes.scene_sampling import sample_scene, sample_spec
from silmm_benchmarks.shapes.world import render

from silmm.contracts.judges import Question, VqaJudge, YesNoJudge
from silmm.errors import DataError, UsageError
from silmm.registry.registry import Registry


@pytest.fixture(scope="module")
def judge():
    """The embedded model as a judge; it looks at 32 pixels."""
    return BaseModelJudge.load(BaseModelOptions(size=32))


@pytest.fixture(scope="module")
def scenes():
    """Images of the shapes world with true questions about them."""
    rng = np.random.default_rng(3)
    specs = [sample_spec(rng, "color") for _ in range(6)]
    images = [Image.fromarray(render(sample_scene(rng, spec))).resize((96, 96), 0) for spec in specs]
    return images, [[question(fact) for fact in atomic_facts(spec)] for spec in specs]


def test_the_probability_is_that_of_the_model(judge, scenes):
    """p(yes) and p(no) are those of the model's own yes_no on the scaled image, alone and in a batch."""
    images, questions = scenes
    model = Registry.load().build("model", "tiny-discrete", {})
    answers = judge.yes_no(images, questions)
    for image, asked, pairs in zip(images, questions, answers, strict=True):
        expected = model.yes_no([np.asarray(image.resize((32, 32), Image.Resampling.BICUBIC))], [asked])[0]
        np.testing.assert_allclose(pairs, expected, atol=2e-4)
    assert isinstance(judge, YesNoJudge)
    assert isinstance(judge, VqaJudge)


def test_yes_and_no_are_answered_as_the_choices_write_them(judge, scenes):
    """The answer is yes where p_yes is over a half, in the spelling of the choices."""
    images, questions = scenes
    asked = [[Question(text, ("Yes", "No")) for text in group] for group in questions]
    pairs = judge.yes_no(images, questions)
    expected = [["Yes" if yes > no else "No" for yes, no in rows] for rows in pairs]
    assert judge.answer(images, asked) == expected
    plain = judge.answer(images[:1], [[Question(questions[0][0])]])
    assert plain == [[expected[0][0].lower()]]


def test_a_choice_is_the_likeliest_of_its_questions(judge, scenes):
    """A question with choices is asked once for each, and the largest share of yes decides."""
    (image, *_), ((text, *_), *_) = scenes
    stem, _, last = text.rstrip("?").rpartition(" ")
    choices = (last, "cross", "ring")
    (pairs,) = judge.yes_no([image], [[f"{stem} {choice}?" for choice in choices]])
    values = pairs[:, 0] / pairs.sum(1)
    assert judge.answer([image], [[Question(f"{stem}?", choices)]]) == [[choices[int(values.argmax())]]]


def test_the_identity_names_model_weights_and_settings(judge):
    """Another model, revision, setting or adapter is another judge."""
    identity = judge.identity
    entry = Registry.load().entry("model", "tiny-discrete")
    assert identity["model"] == "silmm/tiny-discrete"
    assert identity["revision"] == entry.revision
    assert isinstance(json.loads(identity["settings"]), dict)
    assert identity["input"] == "32x32 bicubic"
    other = BaseModelJudge.load(BaseModelOptions(model="tiny-continuous", size=32)).identity
    assert dict(other) != dict(identity)


FOLDER_MODEL = """
from pydantic import Field

from silmm import hookimpl
from silmm.contracts.options import Options


class Folder(Options):
    path: str = Field("", description="Weights.", json_schema_extra={"checkpoint": True})


@hookimpl
def silmm_register_models(register):
    register(
        "folder-model", lambda options: object(), options=Folder, summary="Takes a folder.", kind="discrete",
        capabilities=("chat", "yes_no", "log_likelihood"),
    )
"""


def test_files_of_the_model_count_by_content(fake_distribution, tmp_path):
    """A copy of a folder is the same judge; other weights in the same place are another one."""
    fake_distribution("silmm-folder", {"folder": "silmm_folder"}, {"silmm_folder": FOLDER_MODEL})

    def identity(name):
        settings = json.dumps({"path": str(tmp_path / name)})
        return dict(BaseModelJudge.load(BaseModelOptions(model="folder-model", settings=settings)).identity)

    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"weights")
    before = identity("here")
    assert identity("there") == before
    (tmp_path / "here" / "model.safetensors").write_bytes(b"other weights")
    assert identity("here") != before


@pytest.mark.parametrize(("options", "error", "message"), [
    ({"model": "no-such-model"}, UsageError, "no-such-model"),
    ({"settings": "{"}, UsageError, "not JSON"),
    ({"settings": "[1]"}, UsageError, "not a JSON object"),
    ({"settings": '{"no_such": 1}'}, UsageError, "no_such"),
    ({"adapter": "/no/such/adapter"}, DataError, "no adapter folder"),
])
def test_wrong_options_are_told(options, error, message):
    """An unknown model or setting, broken JSON and a missing adapter each say what is wrong."""
    with pytest.raises(error, match=message):
        BaseModelJudge.load(BaseModelOptions(**options))
