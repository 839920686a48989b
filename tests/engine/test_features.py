"""Features are stored only for candidates in pairs: sampled again, committed by the shard, read when touched."""

from __future__ import annotations

import importlib
import json
import signal
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from silmm.contracts.candidates import Prompt
from silmm.contracts.records import prompt_id
from silmm.engine import distributed as ranks
from silmm.engine.preferences import stored_preferences
from silmm.engine.stages.sample_stage import resample_features
from silmm.engine.workers import shard_worker
from silmm.engine.workers.run_components import Components
from silmm.errors import DataError, PluginError
from silmm.storage.feature_store import FeatureReader, FeatureShards, KeptFeatures
from silmm.storage.paths import RunFolder
from silmm.storage.shards import Shards
from silmm.storage.tables import prompt_table
from tests.toy import artefacts

SHAPE = (3, 8)


@pytest.fixture
def continuous(toy_settings):
    """Return a maker of settings for a toy run with a continuous model."""
    return partial(toy_settings, model="toy-continuous", sampler="toy-noise")


@pytest.fixture
def iteration(tmp_path, run_toy, continuous):
    """Return the folder of an iteration that has its features."""
    run_toy(tmp_path / "run", continuous(), until="features")
    return RunFolder(tmp_path / "run", 3).iteration(1)


@pytest.fixture
def decoded(toy_registry, monkeypatch):
    """Collect the bytes of every H that is decoded."""
    features = set()
    model = importlib.import_module("silmm_toy").ToyContinuous
    real = model.decode
    monkeypatch.setattr(
        model, "decode", lambda self, z, s: features.update(h.tobytes() for h in z) or real(self, z, s)
    )
    return features


def used(folder):
    rows = folder.pairs.table().to_pylist()
    return {(row["prompt_id"], row[side]) for row in rows for side in ("chosen", "rejected")}


def test_what_is_sampled_again_is_what_was_decoded(run_toy, tmp_path, continuous, decoded, monkeypatch):
    """In every iteration each stored H equals, rounded to bfloat16, one that was decoded."""
    again = {}

    def resampled(*arguments):
        features = resample_features(*arguments)
        again.update(features)
        return features

    monkeypatch.setattr(shard_worker, "resample_features", resampled)
    run_toy(tmp_path / "run", continuous(iterations=2))
    run = RunFolder(tmp_path / "run", 3)
    wanted = used(run.iteration(1)) | used(run.iteration(2))
    assert again.keys() == wanted
    assert {h.tobytes() for h in again.values()} <= decoded
    for name, kept in load_file(run.iteration(2).features.data(0)).items():
        identity, number = name.split("/")
        assert kept.dtype == torch.bfloat16
        assert torch.equal(kept, torch.from_numpy(again[identity, int(number)]).bfloat16())


def test_iterations_sample_again_with_their_own_reference(run_toy, tmp_path, continuous, decoded):
    """H of iteration 2 is sampled with the adapter of iteration 1, as its images were."""
    run_toy(tmp_path / "run", continuous(iterations=2))
    all_decoded = np.stack([np.frombuffer(h, np.float32).reshape(SHAPE) for h in decoded])
    for preference in stored_preferences(RunFolder(tmp_path / "run", 3).iteration(2)):
        for h in preference.latents:
            assert np.abs(all_decoded - h).max((1, 2)).min() < 0.02


def test_only_what_pairs_use_is_kept(iteration):
    """Tables hold no features; shards hold the candidates of pairs only, in two bytes per number."""
    assert used(iteration) == {
        (name.split("/")[0], int(name.split("/")[1]))
        for index in range(3) for name in load_file(iteration.features.data(index))
    }
    table = iteration.table("candidates").table()
    assert table.column_names == [
        "prompt_id", "candidate", "seed", "meta", "z", "shape", "latent_id", "image", "further_images",
    ]
    assert table["z"].null_count == table.num_rows == 28
    assert set(map(tuple, table["shape"].to_pylist())) == {SHAPE}
    sizes = sum(iteration.features.data(index).stat().st_size for index in range(3))
    numbers = len(used(iteration)) * SHAPE[0] * SHAPE[1]
    assert sizes < 2 * numbers + 150 * len(used(iteration))
    assert iteration.features.totals() == {"rows": len(used(iteration))}


def test_preferences_read_when_touched(iteration):
    """Preferences hold no features; each access reads float32 (L, D) from the shard, in the order of the pairs."""
    preferences = stored_preferences(iteration)
    preference = preferences[0]
    assert isinstance(preference.latents, KeptFeatures)
    assert [h.shape for h in preference.latents] == [SHAPE] * 2
    assert preference.latents[0].dtype == np.float32
    assert np.array_equal(preference.latents[-1], list(preference.latents)[1])
    assert [h.tobytes() for h in preference.latents[1:]] == [preference.latents[1].tobytes()]
    row = iteration.pairs.table().to_pylist()[0]
    kept = load_file(iteration.features.data(0))
    for position, side in zip(preference.pairs[0], ("chosen", "rejected"), strict=True):
        expected = kept[f"{row['prompt_id']}/{row[side]}"].float().numpy()
        assert np.array_equal(preference.latents[position], expected)
    iteration.features.data(2).unlink()  # never touched before
    with pytest.raises(DataError, match="shard-00002"):
        preferences[-1].latents[0]


def test_further_noises_change_no_features(run_toy, tmp_path, continuous):
    """Two decodes per candidate change no candidate, show observers no images and resume to the same bytes."""
    messages = {}

    class Observer:
        def silmm_stage_finished(self, stage, table):
            messages[stage] = table

    run_toy(tmp_path / "run", continuous(decodes_per_candidate=2), until="sample", observers=[Observer()])
    assert not {"image", "further_images"} & set(messages["sample"].column_names)
    run_toy(tmp_path / "run", continuous(decodes_per_candidate=2))
    run_toy(tmp_path / "whole", continuous(decodes_per_candidate=2))
    assert artefacts.hashes(tmp_path / "run") == artefacts.hashes(tmp_path / "whole")
    run_toy(tmp_path / "one", continuous(), until="sample")
    columns = ["prompt_id", "candidate", "seed", "image"]
    tables = [
        RunFolder(tmp_path / name, 3).iteration(1).table("candidates").table(columns)
        for name in ("run", "one")
    ]
    assert tables[0].equals(tables[1])


@pytest.fixture
def expected(run_toy, tmp_path, continuous):
    run_toy(tmp_path / "whole", continuous())
    return artefacts.hashes(tmp_path / "whole")


@pytest.mark.parametrize("event", [("features", 3), ("features", 7), ("train", 1)])
def test_a_kill_in_the_stage_changes_nothing(run_toy, tmp_path, continuous, *, expected, event):
    """A run that is killed during or after the stage of features and resumed equals an uninterrupted run."""

    class Killer:
        def progress(self, stage, done, total):
            if (stage, done) == event:
                artefacts.die()

    run_dir = tmp_path / "run"
    code = artefacts.exit_code(partial(run_toy, run_dir, continuous(), observers=[Killer()]))
    assert code == -signal.SIGKILL
    run_toy(run_dir, continuous())
    assert artefacts.hashes(run_dir) == expected


def test_kills_again_and_again_change_nothing(run_toy, tmp_path, continuous, expected):
    """A stage that is killed before every ninth system call still ends with the same bytes."""
    run_dir = tmp_path / "run"
    run_toy(run_dir, continuous(), until="pairs")
    deaths = 0
    while artefacts.killed(partial(run_toy, run_dir, continuous(), until="features"), 9):
        deaths += 1
        assert deaths < 20, "the run makes no headway"
    assert deaths > 1
    run_toy(run_dir, continuous())
    assert artefacts.hashes(run_dir) == expected


def test_workers_and_shards_write_the_same_bytes(run_toy, tmp_path, continuous, expected):
    """Two workers, or two shards, write the features that one process writes."""
    run_toy(tmp_path / "two", continuous(), workers=2)
    assert artefacts.hashes(tmp_path / "two") == expected
    run_toy(tmp_path / "parts", continuous(), until="score")
    run_toy(tmp_path / "parts", continuous(), shard=(1, 2))
    assert artefacts.hashes(tmp_path / "parts") == expected


def test_a_corrupt_shard_is_told_and_made_again(run_toy, tmp_path, continuous, expected):
    """A changed byte is an error that names file and remedy; after deletion the shard is sampled again."""
    run_toy(tmp_path / "run", continuous(), until="features")
    path = tmp_path / "run/iter-1/features/shard-00001.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(DataError, match=r"shard-00001.safetensors is corrupt.*Delete this file"):
        run_toy(tmp_path / "run", continuous())
    path.unlink()
    run_toy(tmp_path / "run", continuous())
    assert artefacts.hashes(tmp_path / "run") == expected


def test_features_that_are_not_there_are_named(tmp_path):
    """A candidate that is missing from its shard is an error with shard, candidate and remedy."""
    shards = FeatureShards(tmp_path / "features", 1)
    shards.commit_features(0, {("id", 3): np.ones(SHAPE, np.float32)})
    reader = FeatureReader(shards)
    assert np.array_equal(reader.read(0, "id", 3), np.ones(SHAPE))
    with pytest.raises(DataError, match="no features of candidate 4 of prompt id"):
        reader.read(0, "id", 4)


def test_until_and_from_know_the_stage(run_toy, tmp_path, continuous):
    """`--until pairs` writes no features, `--from train` requires them, `--from features` writes them."""
    run_toy(tmp_path / "run", continuous(), until="pairs")
    assert not (tmp_path / "run/iter-1/features").exists()
    with pytest.raises(DataError, match="the shards 0, 1, 2 of stage features"):
        run_toy(tmp_path / "run", continuous(), from_="train")
    events = []

    class Observer:
        def progress(self, stage, done, total):
            events.append((stage, done, total))

        def silmm_stage_finished(self, stage, table):
            events.append((stage, table))

    result = run_toy(tmp_path / "run", continuous(), from_="features", until="features", observers=[Observer()])
    assert [event for event in events if event[0] == "features"] == [
        ("features", 0, 7), ("features", 3, 7), ("features", 6, 7), ("features", 7, 7), ("features", None),
    ]
    assert result.timings["features"] > 0
    summary = run_toy(tmp_path / "run", continuous()).summary
    assert summary["counts"]["1"]["features"] == {"rows": 14}


def test_discrete_runs_have_no_such_stage(run_toy, tmp_path):
    """With a discrete model `--until features` stops after the pairs and creates no folder."""
    result = run_toy(tmp_path / "run", until="features")
    assert result.summary is None
    assert (tmp_path / "run/iter-1/pairs/manifest.json").is_file()
    assert not (tmp_path / "run/iter-1/features").exists()
    assert not (tmp_path / "run/iter-1/adapter").exists()


def test_a_shard_without_pairs_is_empty(run_toy, tmp_path, continuous):
    """A shard whose prompts have no pairs holds no tensors, and the run continues."""
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(["silent 1", "silent 2", "silent 3", "loud"]))
    run_toy(tmp_path / "run", continuous(prompts=str(path)), until="train")
    folder = RunFolder(tmp_path / "run", 3).iteration(1)
    assert load_file(folder.features.data(0)) == {}
    assert len(load_file(folder.features.data(1))) == 2


@pytest.mark.parametrize("broken", [np.zeros((2, 8), np.float32), np.full(SHAPE, np.nan, np.float32)])
def test_an_other_sample_is_refused(toy_registry, broken):
    """Features of another shape, or features that are not finite, are an error that names the candidate."""

    class Other:
        def sample(self, model, prompts, seeds):
            return [broken for _ in prompts]

    row = {"prompt_id": prompt_id("a"), "candidate": 2, "seed": 5, "shape": list(SHAPE)}
    with pytest.raises(PluginError, match="Candidate 2 of 'a' was sampled again"):
        resample_features(
            None, Other(), prompt_table([Prompt("a", "x")]), pa.Table.from_pylist([row]),
            {prompt_id("a"): {2}},
        )


def own_pairs(path, **columns):
    path.write_text(json.dumps({"prompt": "a", **columns}) + "\n")
    return str(path)


def test_own_pairs_of_features_are_trained_on(run_toy, tmp_path, continuous):
    """`--pairs FILE` with chosen_features and rejected_features trains a continuous model on them."""
    high, low = np.full(SHAPE, 1.5), np.zeros(SHAPE)
    path = own_pairs(
        tmp_path / "pairs.jsonl", chosen_features=high.tolist(), rejected_features=low.tolist()
    )
    run_toy(tmp_path / "run", continuous(pairs=path))
    (preference,) = stored_preferences(RunFolder(tmp_path / "run", 3).iteration(1))
    assert preference.pairs == ((0, 1),)
    assert np.array_equal(preference.latents[0], high)
    adapter = json.loads((tmp_path / "run/iter-1/adapter/adapter.json").read_text())
    assert adapter["bias"] == pytest.approx([6 * 0.1 * 1.5] * 8)


def test_own_pairs_must_suit_the_model(run_toy, tmp_path, continuous, toy_settings):
    """Tokens for a continuous model, and features for a discrete model, are refused before training."""
    tokens = own_pairs(tmp_path / "z.jsonl", chosen_z=[1], rejected_z=[2])
    with pytest.raises(DataError, match="toy-continuous is continuous, so each pair needs 'chosen_features'"):
        run_toy(tmp_path / "a", continuous(pairs=tokens))
    zeros = np.zeros(SHAPE).tolist()
    features = own_pairs(tmp_path / "h.jsonl", chosen_features=zeros, rejected_features=zeros)
    with pytest.raises(DataError, match="toy is discrete, so each pair needs 'chosen_z'"):
        run_toy(tmp_path / "b", toy_settings(pairs=features))


def test_the_pairs_table_of_a_continuous_run_says_what_it_lacks(iteration, run_toy, tmp_path, continuous):
    """The pairs table of a continuous run, which has no features, is refused as `--pairs` with their path."""
    path = tmp_path / "pairs.parquet"
    path.write_bytes(iteration.pairs.data(0).read_bytes())
    with pytest.raises(DataError, match=r"row 1: .*in its folder features/"):
        run_toy(tmp_path / "again", continuous(pairs=str(path)))


def test_other_ranks_wait_for_the_features(run_toy, tmp_path, continuous, toy_registry):
    """A rank of a launcher waits until the features of the pairs are committed; own pairs need no features."""
    settings = continuous()
    run_toy(tmp_path / "run", settings, until="pairs")
    folder = RunFolder(tmp_path / "run", 3).iteration(1)
    components = Components(settings, toy_registry, settings.identity())
    assert not ranks._ready(folder, settings, components)
    run_toy(tmp_path / "run", settings, until="features")
    assert ranks._ready(folder, settings, components)


def test_a_manifest_seals_the_features(iteration):
    """The manifest lists every shard with its hash, as for tables."""
    manifest = json.loads((iteration.path / "features/manifest.json").read_text())
    assert list(manifest["shards"]) == [f"shard-0000{index}.safetensors" for index in range(3)]
    assert isinstance(iteration.table("features"), FeatureShards)
    assert type(iteration.table("scores")) is Shards
