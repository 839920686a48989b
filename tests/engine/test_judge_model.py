"""A judge model answers in place of the policy: its answers are scored, it is never tuned, and the run says so."""

from __future__ import annotations

import importlib
import json
import shutil

import pytest

from silmm.engine import capabilities
from silmm.engine.settings_resolution import resolve_settings
from silmm.errors import SettingsChanged, UsageError
from silmm.registry.component_path import split_component
from silmm.report import write_report
from silmm.storage.shards import Shards
from tests.toy import artefacts


@pytest.fixture
def taste(tmp_path):
    """Return the folder of a judge whose answers are not those of the toy."""
    path = tmp_path / "judge"
    path.mkdir()
    (path / "taste.json").write_text("5")
    return path


@pytest.fixture
def judged(toy_settings, taste):
    """Return a maker of settings for a toy run that toy-folder judges."""

    def make(**changes):
        sets = [f"judge_model.path={taste}", *changes.pop("sets", [])]
        return toy_settings(**{"judge_model": "toy-folder", "sets": sets, **changes})

    return make


@pytest.fixture
def built(toy_registry, monkeypatch):
    """Collect the models that are built, by class and in order."""
    toy = importlib.import_module("silmm_toy")
    calls = []
    real = toy.ToyModel.__init__
    monkeypatch.setattr(toy.ToyModel, "__init__", lambda self: calls.append(type(self).__name__) or real(self))
    return calls


def table(run_dir, name, number=1):
    return Shards(run_dir / f"iter-{number}" / name, 3).table().to_pylist()


def test_scores_are_the_judges_and_all_else_is_the_models(run_toy, tmp_path, judged, taste, whole_run):
    """The stored answers are the judge's answers to the run's images, and the candidates are unchanged."""
    from silmm.storage.tables import decode_png

    run_toy(tmp_path / "run", judged(), until="score")
    toy = importlib.import_module("silmm_toy")
    judge = toy.ToyFolder(toy.ToyFolderOptions(path=str(taste)))
    assert table(tmp_path / "run", "candidates") == table(whole_run, "candidates")
    assert table(tmp_path / "run", "scores") != table(whole_run, "scores")
    stored = {(row["prompt_id"], row["candidate"]): row["image"] for row in table(whole_run, "candidates")}
    asked = {(row["prompt_id"], row["index"]): row["question"] for row in table(whole_run, "questions")}
    answers = table(tmp_path / "run", "answers")
    assert len(answers) == 7 * 4 * 2
    for row in answers:
        image = decode_png(stored[row["prompt_id"], row["candidate"]])
        ((expected,),) = judge.yes_no([image], [[asked[row["prompt_id"], row["index"]]]])
        assert (row["p_yes"], row["p_no"]) == tuple(expected)


def test_the_judge_is_never_tuned(run_toy, tmp_path, judged, monkeypatch):
    """In the second iteration the policy samples with its adapter, and the judge answers without an adapter."""
    toy = importlib.import_module("silmm_toy")
    answered, loaded = [], []
    real_answer, real_load = toy.ToyFolder._answer, toy.ToyModel.load_adapter

    def answer(self, image, question):
        answered.append(self.bias.tolist())
        return real_answer(self, image, question)

    def load(self, folder):
        loaded.append(type(self).__name__)
        real_load(self, folder)

    monkeypatch.setattr(toy.ToyFolder, "_answer", answer)
    monkeypatch.setattr(toy.ToyModel, "load_adapter", load)
    run_toy(tmp_path / "run", judged(iterations=2))
    assert len(answered) == 2 * 7 * 4 * 2
    assert answered == [[0.0] * toy.VOCABULARY] * len(answered)
    assert set(loaded) == {"ToyModel"}


def test_each_model_is_loaded_only_where_it_has_work(run_toy, tmp_path, judged, built):
    """No judge is loaded before stage `score`, and scoring finished candidates loads the judge only."""
    run_toy(tmp_path / "run", judged(), until="questions")
    assert built == ["ToyModel"]
    built.clear()
    run_toy(tmp_path / "run", judged(), until="pairs")
    assert built == ["ToyFolder"]


def test_workers_kills_and_resumed_runs_write_the_same_bytes(run_toy, tmp_path, judged):
    """Two workers, and a run that is killed between two shards of stage `score`, write the bytes of one process."""
    settings = judged()
    run_toy(tmp_path / "whole", settings)
    run_toy(tmp_path / "workers", settings, workers=2)
    whole = artefacts.hashes(tmp_path / "whole")
    assert artefacts.hashes(tmp_path / "workers") == whole
    toy = importlib.import_module("silmm_toy")

    def child():
        real, calls = toy.ToyFolder.yes_no, []

        def dying(self, *arguments):
            calls.append(1)
            if len(calls) == 2:
                toy.die()
            return real(self, *arguments)

        toy.ToyFolder.yes_no = dying
        run_toy(tmp_path / "killed", settings)

    assert artefacts.exit_code(child) == -9
    assert len(list((tmp_path / "killed/iter-1/scores").glob("shard-*.json"))) == 1
    run_toy(tmp_path / "killed", settings)
    assert artefacts.hashes(tmp_path / "killed") == whole


def test_a_model_that_cannot_answer_is_no_judge(run_toy, tmp_path, toy_settings, built):
    """A judge that cannot answer is refused before anything loads, with models that can."""
    with pytest.raises(
        UsageError, match=r"--judge-model toy-blind.*needs yes_no.*toy, toy-continuous, toy-folder\."
    ):
        run_toy(tmp_path / "run", toy_settings(judge_model="toy-blind"))
    with pytest.raises(UsageError, match=r"--scorer toy.*needs yes_no, which 'toy-blind'"):
        run_toy(tmp_path / "run", toy_settings(model="toy-blind"))
    assert built == []
    assert not (tmp_path / "run").exists()
    run_toy(tmp_path / "run", toy_settings(model="toy-blind", judge_model="toy-continuous"), until="score")
    assert built == ["ToyModel", "ToyContinuous"]


def test_without_a_name_the_model_need_not_answer_beside_a_judge(toy_registry, toy_settings):
    """With a judge, a policy that cannot answer fits a scorer that needs answers."""
    draft = toy_settings(model="toy-blind", judge_model="toy")
    assert capabilities.fitting_model(toy_registry, draft, ["scorer", "judge_model"]) == "toy-blind"


def test_the_judge_is_part_of_the_identity(run_toy, tmp_path, judged, toy_settings, taste):
    """The judge, its options and its weights are part of the identity; without a judge it is unchanged."""
    digests = {
        settings.digest
        for settings in (
            toy_settings(), toy_settings(judge_model="toy"), judged(),
            judged(sets=["judge-model.device=cuda"]),
        )
    }
    assert len(digests) == 4
    assert "judge_model" not in toy_settings().identity()
    run_toy(tmp_path / "run", judged(), until="prompts")
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["settings"]["judge_model"] == "toy-folder"
    assert record["components"]["judge_model"]["distribution"] == "silmm-toy"
    (taste / "taste.json").write_text("6")
    with pytest.raises(SettingsChanged, match=r"options\.judge_model\.path\.taste\.json"):
        run_toy(tmp_path / "run", judged())


def test_the_command_line_names_a_judge_with_its_path(toy_registry):
    """`NAME:PATH` sets the judge's own option; a second path, or a path for a model without files, is refused."""
    split = split_component(toy_registry, "toy-folder:DIR", ["a.b=1"], "judge_model")
    assert split == ("toy-folder", ("judge_model.path=DIR", "a.b=1"))
    with pytest.raises(UsageError, match=r"--judge-model toy-folder:DIR and --set judge-model\.path=X both"):
        split_component(toy_registry, "toy-folder:DIR", ["judge-model.path=X"], "judge_model")
    with pytest.raises(UsageError, match=r"--judge-model toy:DIR.*Those that take a path: toy-folder\."):
        split_component(toy_registry, "toy:DIR", [], "judge_model")


def test_a_settings_file_names_a_judge(toy_registry, taste, tmp_path):
    """`[judge_model]` with a name and options, `[judge-model]` too; options without a judge are refused."""
    for table_name in ("judge_model", "judge-model"):
        path = tmp_path / "run.toml"
        path.write_text(f"model = 'toy'\n[{table_name}]\nname = 'toy-folder'\npath = '{taste}'\n")
        kinds = ("prompter", "sampler", "questioner", "scorer", "pair_rule", "trainer")
        settings = resolve_settings(toy_registry, path, flags=dict.fromkeys(kinds, "toy"))
        assert settings.component("judge_model") == "toy-folder"
        assert settings.options["judge_model"]["path"] == str(taste)
    with pytest.raises(UsageError, match="no --judge-model is chosen"):
        resolve_settings(
            toy_registry, flags=dict.fromkeys((*kinds, "model"), "toy"), sets=["judge_model.path=x"]
        )


def test_validation_asks_the_judge(run_toy, tmp_path, judged, built, monkeypatch):
    """Validation is scored by the judge: the reference's score is the mean of the judge's stored scores."""
    sets = ["trainer.validate_every=2", "trainer.validation_prompts=3", "trainer.validation_images=4"]
    settings = judged(trainer="toy-validating", prompts=12, sets=sets)
    run_toy(tmp_path / "run", settings, until="pairs")
    built.clear()
    run_toy(tmp_path / "run", settings)
    assert built == ["ToyModel", "ToyFolder"]
    rows = [json.loads(line) for line in (tmp_path / "run/iter-1/metrics.jsonl").read_text().splitlines()]
    last = [row["prompt_id"] for row in Shards(tmp_path / "run/iter-1/prompts", 1).table().to_pylist()][-3:]
    stored = Shards(tmp_path / "run/iter-1/scores", 4).table().to_pylist()
    scores = [row["score"] for row in stored if row["prompt_id"] in last]
    assert len(scores) == 3 * 4
    assert rows[1]["validation_reference"] == pytest.approx(sum(scores) / 12)


def test_the_run_says_who_judged(run_toy, tmp_path, judged, whole_run):
    """The summary and the report name the judge, and the report says that this is no self-improvement."""
    result = run_toy(tmp_path / "run", judged())
    assert result.summary["judge_model"] == "toy-folder"
    page = write_report(tmp_path / "run").read_text()
    assert "No self-improvement" in page
    assert "judge model toy-folder answered" in page
    assert json.loads((whole_run / "summary.json").read_text())["judge_model"] is None
    shutil.copytree(whole_run, tmp_path / "own")  # a report is written into the run, which others compare
    assert "No self-improvement" not in write_report(tmp_path / "own").read_text()
