"""A run directory holds one run, with the same bytes whichever process wrote which part (promise 1)."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import warnings
from dataclasses import replace

import pytest

from silmm.errors import DataError, Incomplete, SettingsChanged, SilmmError, UsageError
from silmm.registry.observers import ObserverWarning
from silmm.storage.paths import STAGES
from silmm.storage.shards import Shards
from tests.toy import artefacts


@pytest.fixture
def expected(whole_run):
    return artefacts.hashes(whole_run)


def test_a_finished_run_is_not_done_again(run_toy, tmp_path, expected):
    """The same command on a finished run changes nothing."""
    run_toy(tmp_path / "run")
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*.parquet")}
    run_toy(tmp_path / "run")
    assert artefacts.hashes(tmp_path / "run") == expected
    assert files == {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*.parquet")}


def test_four_workers_write_the_same_bytes(run_toy, tmp_path, expected):
    """Four workers write the same bytes as one."""
    run_toy(tmp_path / "run", workers=4)
    assert artefacts.hashes(tmp_path / "run") == expected


def test_workers_end_before_a_training_begins(run_toy, tmp_path, toy_settings, monkeypatch):
    """Workers end before the trainer is called, so that their models free memory, and start again afterwards."""
    toy = importlib.import_module("silmm_toy")
    real, alive, worker_counts = toy.ToyTrainer.train, [], []

    def train(*arguments, **named):
        alive.append(multiprocessing.active_children())
        return real(*arguments, **named)

    class Described:
        def progress(self, stage, done, total):
            if stage == "sample" and done:
                worker_counts.append(len(multiprocessing.active_children()))

    monkeypatch.setattr(toy.ToyTrainer, "train", train)
    run_toy(tmp_path / "run", toy_settings(iterations=2), workers=2, observers=(Described(),))
    assert alive == [[], []]
    assert set(worker_counts) == {2}


def test_shards_in_any_order_write_the_same_bytes(run_toy, tmp_path, expected):
    """`--shard 1/2` ends as incomplete, and `--shard 0/2` after it completes the run."""
    with pytest.raises(Incomplete, match="2 of 3 shards"):
        run_toy(tmp_path / "run", shard=(1, 2))
    run_toy(tmp_path / "run", shard=(0, 2))
    assert artefacts.hashes(tmp_path / "run") == expected


def test_a_stage_at_a_time_writes_the_same_bytes(run_toy, tmp_path, expected):
    """One command per stage, with `--from` and `--until`, writes the bytes of a single command."""
    for stage in STAGES:
        result = run_toy(tmp_path / "run", until=stage, from_=stage)
        assert result.summary is None
    run_toy(tmp_path / "run", from_="train")
    assert artefacts.hashes(tmp_path / "run") == expected


def test_until_stops_before_the_next_stage(run_toy, tmp_path):
    """`--until score` leaves scores and no pairs."""
    run_toy(tmp_path / "run", until="score")
    assert (tmp_path / "run/iter-1/scores/manifest.json").is_file()
    assert not (tmp_path / "run/iter-1/pairs").exists()


def test_from_names_what_is_missing(run_toy, tmp_path):
    """`--from pairs` without scores is an error that names the missing shards."""
    run_toy(tmp_path / "run", until="questions")
    with pytest.raises(DataError, match=r"shards 0, 1, 2 of stage score"):
        run_toy(tmp_path / "run", from_="pairs")
    assert not (tmp_path / "run/iter-1/scores").exists()


def test_changed_settings_are_refused_field_by_field(run_toy, tmp_path, toy_settings):
    """Changed settings on an old directory are an error that lists each difference, and no byte changes."""
    run_toy(tmp_path / "run", until="sample")
    before = artefacts.hashes(tmp_path / "run")
    changed = toy_settings(seed=4, sets=["trainer.max_steps=9"])
    with pytest.raises(SettingsChanged) as error:
        run_toy(tmp_path / "run", changed)
    assert "seed: 0 there, 4 now" in str(error.value)
    assert "options.trainer.max_steps: 6 there, 9 now" in str(error.value)
    assert "images_per_prompt" not in str(error.value)
    assert artefacts.hashes(tmp_path / "run") == before


def test_a_foreign_directory_is_refused(run_toy, tmp_path):
    """A directory with other files, even files that resemble silmm's, is refused as a run directory."""
    for name in ("thesis.tex", ".tmp-mine", "locksmith.txt"):
        folder = tmp_path / name.strip(".")
        folder.mkdir()
        (folder / name).write_text("years of work")
        with pytest.raises(UsageError, match=name):
            run_toy(folder)
        assert [path.name for path in folder.iterdir()] == [name]


def test_another_package_or_other_weights_are_refused(run_toy, tmp_path, toy_registry):
    """Another distribution, version or revision of a component is refused with the difference."""
    run_toy(tmp_path / "run", until="prompts")
    sources = json.loads((tmp_path / "run/run.json").read_text())["components"]
    assert sources["trainer"] == {"distribution": "silmm-toy", "revision": "", "version": "1.0"}
    model = toy_registry.entry("model", "toy")
    toy_registry._entries["model"] = [replace(model, revision="new weights")]
    with pytest.raises(SettingsChanged) as error:
        run_toy(tmp_path / "run")
    assert 'components.model.revision: "" there, "new weights" now' in str(error.value)
    assert "trainer" not in str(error.value)


def test_the_next_iteration_starts_from_the_tuned_model(run_toy, tmp_path, toy_settings, monkeypatch):
    """Iteration 2 samples, answers and trains with the adapter of iteration 1."""
    run_toy(tmp_path / "one")
    toy = importlib.import_module("silmm_toy")
    sampled, answered, starts = [], [], []

    def watch(kind, name, note):
        real = getattr(kind, name)
        monkeypatch.setattr(kind, name, lambda *arguments, **named: note(arguments, named) or real(*arguments, **named))

    def note_sampling(arguments, _):
        if arguments[1] != toy.HELD_OUT:  # that is the evaluation's
            sampled.append(arguments[0].bias.tolist())

    watch(toy.ToyModel, "_sample", note_sampling)
    watch(toy.ToyModel, "_answer", lambda arguments, _: answered.append(arguments[0].bias.tolist()))
    watch(toy.ToyTrainer, "train", lambda _, named: starts.append(named["start"]))
    result = run_toy(tmp_path / "two", toy_settings(iterations=2))
    folder, second = tmp_path / "one/iter-1/adapter", tmp_path / "two/iter-1/adapter"
    assert (second / "adapter.json").read_bytes() == (folder / "adapter.json").read_bytes()
    assert list(result.adapters) == ["1", "2"]
    assert starts == [None, second]
    tuned = json.loads((second / "adapter.json").read_text())["bias"]
    for biases in (sampled, answered):
        half = len(biases) // 2
        assert biases == [[0.0] * len(tuned)] * half + [tuned] * half
    assert len((tmp_path / "two/iter-2/metrics.jsonl").read_text().splitlines()) == 6
    assert json.loads((result.adapters["2"] / "adapter.json").read_text())["bias"] != tuned


def test_no_held_out_prompt_is_trained_on(run_toy, tmp_path, toy_settings):
    """No table holds a held-out prompt of the benchmark, whether prompts are written or read from a file."""
    path = tmp_path / "prompts.txt"
    path.write_text("a word5 thing\nanother thing\na third\n")
    run_toy(tmp_path / "self", until="prompts")
    run_toy(tmp_path / "file", toy_settings(prompts=str(path)), until="prompts")
    for name, count in (("self", 7), ("file", 2)):
        folder = tmp_path / name / "iter-1"
        texts = Shards(folder / "prompts", 1).table()["prompt"].to_pylist()
        assert len(texts) == count
        assert not [text for text in texts if "word5" in text]
        assert json.loads((folder / "prompter.json").read_text())["rejected"]["excluded"] == 1


def test_a_limited_run_is_marked(run_toy, tmp_path, toy_settings):
    """`--limit` keeps that many prompts of the benchmark and marks every result as partial."""
    result = run_toy(tmp_path / "run", toy_settings(limit=2))
    assert result.summary["partial"] is True
    assert json.loads((tmp_path / "run/run.json").read_text())["partial"] is True
    counts = json.loads((tmp_path / "run/iter-1/prompter.json").read_text())
    assert counts["partial"] is True
    assert Shards(tmp_path / "run/iter-1/prompts", 1).table().num_rows == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [("word5 again", "excluded: 1"), ("silent", "no-questions: 1"), ("broken", "non-finite: 4")],
)
def test_a_run_with_nothing_usable_says_why(run_toy, tmp_path, toy_settings, text, words):
    """A stage that leaves nothing for the next stage is an error with the counts of what was dropped."""
    (tmp_path / "p.txt").write_text(text)
    with pytest.raises(DataError, match=words):
        run_toy(tmp_path / "run", toy_settings(prompts=str(tmp_path / "p.txt")))


def test_own_pairs_are_trained_on_alone(run_toy, tmp_path, toy_settings):
    """`--pairs FILE` trains on the file only; nothing is sampled or asked."""
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"prompt": "a", "chosen_z": [1, 1], "rejected_z": [2, 2]}\n')
    result = run_toy(tmp_path / "run", toy_settings(pairs=str(path)))
    bias = json.loads((result.adapters["1"] / "adapter.json").read_text())["bias"]
    assert bias[1] > 0 > bias[2]
    assert not (tmp_path / "run/iter-1/candidates").exists()


def pairs_file(path, *prompts):
    """Write two pairs for each prompt."""
    rows = [
        {"prompt": prompt, "chosen_z": [1, 1, tail], "rejected_z": [2, 2, tail]}
        for prompt in prompts for tail in (3, 4)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_own_pairs_of_held_out_prompts_are_dropped_and_counted(run_toy, tmp_path, toy_settings):
    """Held-out prompts of `--pairs FILE` are dropped and counted; a file of held-out prompts only is an error."""
    mixed = pairs_file(tmp_path / "mixed.jsonl", "a", "word5 b")
    result = run_toy(tmp_path / "run", toy_settings(pairs=mixed))
    assert result.summary["counts"]["1"]["pairs"] == {"rows": 2, "excluded": 2}
    held_out = pairs_file(tmp_path / "held.jsonl", "word5 b")
    with pytest.raises(DataError, match=r"held\.jsonl.*excluded: 2"):
        run_toy(tmp_path / "none", toy_settings(pairs=held_out))


def test_a_pair_rule_that_makes_no_pair_is_refused_at_the_start(
    run_toy, tmp_path, toy_settings, toy_registry, monkeypatch
):
    """A pair rule whose ranks exceed the candidates is refused before anything is sampled."""
    rule = importlib.import_module("silmm_toy").ToyRule
    monkeypatch.setattr(rule, "pairs", lambda self, scores: [(0, 5)] if len(scores) > 5 else [])
    with pytest.raises(UsageError, match=r"makes no pair even of 4 candidates.*--images-per-prompt"):
        run_toy(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    own = pairs_file(tmp_path / "pairs.jsonl", "a")
    run_toy(tmp_path / "own", toy_settings(pairs=own))


def test_a_limit_holds_for_own_pairs(run_toy, tmp_path, toy_settings):
    """`--limit 2` with `--pairs FILE` keeps all pairs of the first two usable prompts."""
    path = pairs_file(tmp_path / "pairs.jsonl", "a", "word5 b", "c", "d")
    run_toy(tmp_path / "run", toy_settings(pairs=path, limit=2))
    table = Shards(tmp_path / "run/iter-1/pairs", 1).table()
    assert table["prompt"].to_pylist() == ["a", "a", "c", "c"]


@pytest.mark.parametrize("argument", ["until", "from_"])
def test_own_pairs_have_no_earlier_stage(run_toy, tmp_path, toy_settings, argument):
    """`--until sample` and `--from sample` are refused with `--pairs FILE`."""
    settings = toy_settings(pairs=pairs_file(tmp_path / "pairs.jsonl", "a"))
    with pytest.raises(UsageError, match="no stage sample"):
        run_toy(tmp_path / "run", settings, **{argument: "sample"})
    run_toy(tmp_path / "run", settings, **{argument: "pairs"})


@pytest.mark.parametrize("kind", ["prompts", "pairs"])
def test_an_input_file_that_changes_under_a_run_is_noticed(run_toy, tmp_path, toy_settings, kind):
    """An input file that changed since the run started is an error."""
    path = tmp_path / "input.jsonl"
    settings = toy_settings(**{kind: pairs_file(path, "a")})

    class Meddler:
        def silmm_run_started(self):
            pairs_file(path, "a", "b")

    with pytest.raises(DataError, match="changed while the run"):
        run_toy(tmp_path / "run", settings, observers=[Meddler()])
    assert not (tmp_path / "run/iter-1").exists()


def test_an_input_file_may_go_once_it_was_read(run_toy, tmp_path, toy_settings):
    """A prompts file may be deleted once its prompts are stored."""
    path = tmp_path / "prompts.txt"
    path.write_text("a thing\n")

    class Cleaner:
        def silmm_stage_finished(self, stage):
            path.unlink(missing_ok=True)

    result = run_toy(tmp_path / "run", toy_settings(prompts=str(path)), observers=[Cleaner()])
    stored = json.loads((tmp_path / "run/run.json").read_text())
    assert result.summary["digest"] == stored["digest"]


def test_the_pairs_of_a_run_are_a_data_set(run_toy, tmp_path, toy_settings, whole_run):
    """The pairs table of a run, given as `--pairs`, trains the same adapter."""
    path = whole_run / "iter-1/pairs/shard-00000.parquet"
    result = run_toy(tmp_path / "run", toy_settings(pairs=str(path)))
    trained = (result.adapters["1"] / "adapter.json").read_bytes()
    assert trained == (whole_run / "iter-1/adapter/adapter.json").read_bytes()


def test_a_corrupt_shard_stops_the_run_and_is_made_again(run_toy, tmp_path, expected):
    """A damaged shard is an error, and deleting it as the message says repairs the run."""
    run_toy(tmp_path / "run", until="questions")
    shard = tmp_path / "run/iter-1/candidates/shard-00001.parquet"
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DataError, match=r"shard-00001\.parquet is corrupt"):
        run_toy(tmp_path / "run")
    shard.unlink()
    run_toy(tmp_path / "run")
    assert artefacts.hashes(tmp_path / "run") == expected


def test_a_damaged_adapter_is_refused_and_made_again(run_toy, tmp_path, expected):
    """A damaged adapter is refused, and after deletion it is trained again."""
    run_toy(tmp_path / "run")
    weights = tmp_path / "run/iter-1/adapter/adapter.json"
    weights.write_text(weights.read_text().replace("0", "1"))
    with pytest.raises(DataError, match="corrupt"):
        run_toy(tmp_path / "run")
    weights.unlink()
    weights.parent.rmdir()
    run_toy(tmp_path / "run")
    assert artefacts.hashes(tmp_path / "run") == expected


def test_observers_see_the_run(run_toy, tmp_path):
    """Observers receive each stage, step and unit of progress, and a failing observer stops nothing."""
    heard, units = [], []

    class Observer:
        def silmm_stage_finished(self, stage, table):
            heard.append((stage, table.num_rows if table else None))

        def silmm_train_step(self, step):
            heard.append(step)

        def silmm_run_finished(self):
            raise RuntimeError("an observer's own fault")

        def progress(self, stage, done, total):
            units.append((stage, done, total))

    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        run_toy(tmp_path / "run", observers=[Observer()])
    rows = [("prompts", 7), ("sample", 28), ("questions", 14), ("score", 28), ("pairs", 7)]
    assert heard == [*rows, 1, 2, 3, 4, 5, 6, ("train", None)]
    assert ("sample", 7, 7) in units
    assert ("train", 6, 6) in units


def test_no_observer_changes_the_stored_metrics(run_toy, tmp_path, expected):
    """An observer that changes the metrics it receives changes no byte of the run."""

    class Forger:
        def silmm_train_step(self, metrics):
            metrics["loss"] = -1.0

    run_toy(tmp_path / "run", observers=[Forger()])
    assert artefacts.hashes(tmp_path / "run") == expected


@pytest.mark.parametrize("progress", [lambda stage: 1 / 0, lambda unrelated: None, 3])
def test_an_observers_progress_ends_no_run(run_toy, tmp_path, expected, *, progress):
    """A `progress` that raises, takes other arguments or is not callable stops nothing."""

    class Odd:
        def __init__(self):
            self.progress = progress

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run_toy(tmp_path / "run", observers=[Odd()])
    assert artefacts.hashes(tmp_path / "run") == expected
    assert len([warning for warning in caught if warning.category is ObserverWarning]) == int(callable(progress))


def test_seconds_add_up_over_resumed_parts(run_toy, tmp_path):
    """Seconds of a stage add up over interrupted parts and over iterations."""
    first = run_toy(tmp_path / "run", until="score").timings
    (tmp_path / "run/iter-1/candidates/shard-00001.parquet").unlink()
    stored = json.loads((tmp_path / "run/timings.json").read_text())
    stored["iter-1/sample"] = 100.0
    (tmp_path / "run/timings.json").write_text(json.dumps(stored))
    last = run_toy(tmp_path / "run").timings
    assert set(last) == {*STAGES, "evaluate"} - {"features"}  # a continuous model's
    assert last["sample"] > 100
    assert last["questions"] == first["questions"] > 0


def test_a_worker_that_dies_is_an_error(
    run_toy, tmp_path, toy_site, *, monkeypatch, expected
):
    """A worker that the system kills ends the run with an error that names the stage, and the run can be resumed."""
    monkeypatch.setattr("silmm.engine.workers.local_executor.run_task", importlib.import_module("silmm_toy").die)
    with pytest.raises(SilmmError, match=r"exit code -9.*stage sample"):
        run_toy(tmp_path / "run", workers=2)
    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(toy_site))
    run_toy(tmp_path / "run")
    assert artefacts.hashes(tmp_path / "run") == expected


def test_a_figure_without_an_interval_is_null_in_the_summary(whole_run):
    """An interval that a single prompt cannot have is null in the summary, not NaN or 0."""
    summary = json.loads((whole_run / "summary.json").read_text())
    assert summary["categories"]["toy"]["ci_low"] is None
    assert summary["overall"]["ci_low"] == -8.0
