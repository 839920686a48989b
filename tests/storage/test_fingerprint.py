"""The fingerprint of a checkpoint is that of its content: a moved folder is the same, changed files are not."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import time

import pytest
from pydantic import Field

import silmm.storage.sha256_cache
from silmm.contracts.options import CheckpointMark, Options, checkpoint_options
from silmm.errors import DataError, SettingsChanged
from silmm.registry.registration import _options_problem
from silmm.reproduce.sharing import stage_digests
from silmm.storage import fingerprint as content
from silmm.storage.fingerprint import checkpoint_content
from silmm.storage.json_files import read_json
from silmm.storage.sha256_cache import file_digests, sha256_file
from tests.toy import artefacts

COMMIT, OTHER = "a" * 40, "b" * 40


def silent(_):
    """Ignore progress."""


@pytest.fixture
def folder(tmp_path):
    """Return a checkpoint of two files, one in a folder."""
    weights = tmp_path / "weights"
    (weights / "vision").mkdir(parents=True)
    (weights / "taste.json").write_text("1")
    (weights / "vision" / "model.safetensors").write_bytes(b"numbers")
    return weights


def digests_of(value, mark=None, **others):
    options = {"path": str(value), **others}
    option = "path" if "other" not in others else "other"
    return checkpoint_content(options, option, mark or CheckpointMark(), "model", silent)


def test_a_folder_is_its_files(folder, tmp_path):
    """The fingerprint of a folder is the sorted names and SHA-256 of its files, without hidden files and its path."""
    digests = digests_of(folder)["path"]
    assert digests == {
        "taste.json": sha256_file(folder / "taste.json"),
        "vision/model.safetensors": sha256_file(folder / "vision/model.safetensors"),
    }
    assert list(digests) == sorted(digests)
    for hidden in (".git/HEAD", ".cache/huggingface/x.lock", ".gitattributes", "vision/.DS_Store"):
        path = folder / hidden
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("noise")
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert digests_of(folder)["path"] == digests_of(tmp_path / "elsewhere")["path"] == digests
    (folder / "taste.json").write_text("2")
    assert digests_of(folder)["path"].keys() == digests.keys()
    assert digests_of(folder)["path"] != digests


def test_a_name_counts_where_the_component_goes_by_it(folder, tmp_path):
    """With `named` the folder's name counts, and its parent's path does not."""
    mark = CheckpointMark(named=True)
    digests = digests_of(folder, mark)["path"]
    assert digests == {".": "weights", **digests_of(folder)["path"]}
    assert digests_of(f"{shutil.copytree(folder, tmp_path / 'moved' / 'weights')}/", mark)["path"] == digests
    assert digests_of(shutil.copytree(folder, tmp_path / "renamed"), mark)["path"] != digests


def test_a_snapshot_of_links_is_the_folder_that_it_shows(folder, tmp_path):
    """A snapshot of links has the fingerprint of a plain copy, and circular links are refused."""
    snapshot = tmp_path / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "taste.json").symlink_to(os.path.relpath(folder / "taste.json", snapshot))
    (snapshot / "vision").symlink_to(folder / "vision")
    expected = digests_of(folder)["path"]
    (folder / "vision" / "up").symlink_to(folder / "vision")
    assert digests_of(snapshot)["path"] == expected
    (snapshot / "lost.bin").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"--set model\.path .*lost\.bin"):
        digests_of(snapshot)


def test_what_is_not_there_is_refused_by_option_and_path(tmp_path):
    """A missing or empty folder is an error that names the option and the path."""
    with pytest.raises(DataError, match=r"no folder '/no/where at all'; check --set model\.path"):
        digests_of("/no/where at all")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty' holds no files; check --set model\.path"):
        digests_of(tmp_path / "empty")


def test_a_folder_has_no_revision(folder):
    """A revision of a local folder is refused."""
    mark = CheckpointMark(revision="revision")
    assert digests_of(folder, mark, revision=None) == digests_of(folder)
    with pytest.raises(DataError, match=r"has no revisions; leave --set model\.revision out"):
        digests_of(folder, mark, revision="main")


def test_an_empty_option_counts_what_is_taken_beside_the_folder(folder):
    """Files that an empty option takes from beside the folder count, and a reserved word of the option is no path."""
    mark = CheckpointMark(beside=("Chat*", "*/eva.pth"), words=("self",))
    assert digests_of(folder, mark, other="") == {"other": ""}
    assert digests_of(folder, mark, other="self") == {"other": "self"}
    for name in ("Chat-hf/config.json", "vit/eva.pth", "vit/notes.txt", "Gen/config.json"):
        path = folder.parent / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    digests = digests_of(folder, mark, other="")["other"]
    assert list(digests) == ["../Chat-hf/config.json", "../vit/eva.pth"]
    home = folder.parent.rename(folder.parent.with_name("moved"))
    assert digests_of(home / "weights", mark, other="")["other"] == digests
    home.rename(folder.parent)
    single = digests_of(folder, mark, other=str(folder.parent / "vit/eva.pth"))
    assert single == {"other": "sha256:" + digests["../vit/eva.pth"]}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Return the folder of a repository in a hub's cache whose branch main is at COMMIT, with no network."""
    import huggingface_hub
    from huggingface_hub import constants

    def offline(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", offline)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--org--janus"
    for commit in (COMMIT, OTHER):
        (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    return repository


def test_a_repository_is_its_commit(hub, monkeypatch):
    """A repository is fingerprinted by the commit of its branch, so a moved branch is another checkpoint."""
    mark = CheckpointMark(revision="revision")
    expected = {"path": f"hub:org/janus@{COMMIT}", "revision": None}
    for revision in (None, "main", COMMIT):
        assert digests_of("org/janus", mark, revision=revision) == expected
    (hub / "refs" / "main").write_text(OTHER)
    assert digests_of("org/janus", mark, revision=None)["path"] == f"hub:org/janus@{OTHER}"
    with pytest.raises(DataError, match=r"'org/none' is no folder here.*no network.*--set model\.path"):
        digests_of("org/none", mark, revision=None)
    asked = type("Described", (), {"sha": OTHER})
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: asked)
    assert digests_of("org/none")["path"] == f"hub:org/none@{OTHER}"


def test_marks_that_say_nothing_known_make_a_broken_plugin():
    """A checkpoint mark of another form is an error of the plugin that registers it."""

    def options(mark):
        return type("Own", (Options,), {
            "__annotations__": {"path": str}, "path": Field("", json_schema_extra={"checkpoint": mark}),
        })

    assert checkpoint_options(options(True)) == {"path": CheckpointMark()}
    assert checkpoint_options(options({"beside": ["x"]})) == {"path": CheckpointMark(beside=("x",))}
    assert checkpoint_options(options(False)) == {}
    for wrong in ("yes", {"besides": []}, {"words": "self"}, {"revision": 3}):
        assert "'path'" in _options_problem(options(wrong)), wrong


# ------------------------------------------------------------------------------- files are read once


@pytest.fixture
def reads(monkeypatch, tmp_path):
    """Collect the files that are hashed; each counts as large, and no digest is cached at first."""
    monkeypatch.setenv("SILMM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(silmm.storage.sha256_cache, "LARGE", 1)
    monkeypatch.setattr(silmm.storage.sha256_cache, "LONG", 10)
    monkeypatch.setattr(silmm.storage.sha256_cache, "_known", {})
    read = []
    monkeypatch.setattr(
        silmm.storage.sha256_cache, "sha256_file", lambda path: read.append(path.name) or sha256_file(path)
    )
    return read


@pytest.fixture
def settled(tmp_path, monkeypatch):
    """Return a file that was last changed long ago."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"0123456789")
    now = time.time_ns()
    monkeypatch.setattr(silmm.storage.sha256_cache.time, "time_ns", lambda: now + 3_000_000_000)
    return path


def forget(monkeypatch):
    """Forget what this process has cached, as the next process would."""
    monkeypatch.setattr(silmm.storage.sha256_cache, "_known", {})


def test_the_next_start_reads_nothing_again(settled, reads, monkeypatch):
    """The digest of an unchanged file is cached for this process and the next."""
    announced = []
    digest = file_digests([settled], announced.append)
    assert digest == [sha256_file(settled)]
    assert "model.safetensors" in announced[0]
    forget(monkeypatch)
    assert file_digests([settled], announced.append) == digest
    assert reads == ["model.safetensors"]
    assert len(announced) == 1


def test_a_change_is_seen_even_with_size_and_time_put_back(settled, reads, monkeypatch):
    """Changed content is noticed even if size and modification time are restored."""
    (before,) = file_digests([settled])
    times = settled.stat()
    time.sleep(0.02)  # beyond the clock tick of file systems
    settled.write_bytes(b"9876543210")
    os.utime(settled, ns=(times.st_atime_ns, times.st_mtime_ns))
    forget(monkeypatch)
    (after,) = file_digests([settled])
    assert after == sha256_file(settled) != before
    assert len(reads) == 2


def test_what_was_just_written_is_not_kept(tmp_path, reads):
    """The digest of a file that was just written is not cached."""
    path = tmp_path / "fresh.bin"
    path.write_bytes(b"new")
    assert file_digests([path]) == file_digests([path])
    assert len(reads) == 2


def test_damage_in_the_cache_is_no_digest(settled, reads, tmp_path, monkeypatch):
    """A damaged cache is ignored, and a cache that cannot be written stops nothing."""
    (digest,) = file_digests([settled])
    (record,) = (tmp_path / "cache").rglob("*.json")
    for damage in ("{", "[]", json.dumps({**read_json(record), "size": 4}), '{"sha256": "x"}'):
        record.write_text(damage)
        forget(monkeypatch)
        assert file_digests([settled]) == [digest]
    forget(monkeypatch)
    monkeypatch.setenv("SILMM_CACHE", str(settled))  # a file: no folder can be made in it
    assert file_digests([settled]) == file_digests([settled]) == [digest]
    assert len(reads) == 1 + 4 + 1


def test_a_file_that_changes_while_it_is_read_is_refused(settled, reads, monkeypatch):
    """A file that changes while it is hashed is refused."""

    def growing(path):
        with path.open("ab") as file:
            file.write(b"more")
        return sha256_file(path)

    monkeypatch.setattr(silmm.storage.sha256_cache, "sha256_file", growing)
    with pytest.raises(DataError, match="changed while it was read"):
        file_digests([settled])


# ----------------------------------------------------------------------------------------- in a run


@pytest.fixture
def of_folder(toy_settings, folder):
    """Return a maker of settings for a run of the toy that reads a checkpoint."""

    def make(path=folder, **changes):
        return toy_settings(model="toy-folder", sets=[f"model.path={path}"], **changes)

    return make


def test_a_run_does_not_go_on_with_other_weights(run_toy, tmp_path, of_folder, folder):
    """A run whose checkpoint changed is refused with the name of the file, and no byte changes."""
    run_toy(tmp_path / "run", of_folder(), until="questions")
    before = artefacts.hashes(tmp_path / "run")
    (folder / "taste.json").write_text("2")
    with pytest.raises(SettingsChanged) as error:
        run_toy(tmp_path / "run", of_folder())
    assert "options.model.path.taste.json" in str(error.value)
    assert "safetensors" not in str(error.value)
    assert artefacts.hashes(tmp_path / "run") == before


def test_a_run_goes_on_from_another_place_to_the_same_bytes(run_toy, tmp_path, of_folder, folder):
    """A run whose checkpoint was moved continues to the same bytes."""
    run_toy(tmp_path / "whole", of_folder())
    settings = of_folder()
    run_toy(tmp_path / "run", settings, until="sample")
    moved = folder.rename(tmp_path / "archive")
    assert of_folder(moved).digest == json.loads((tmp_path / "run/run.json").read_text())["digest"]
    run_toy(tmp_path / "run", of_folder(moved))
    whole, run = artefacts.hashes(tmp_path / "whole"), artefacts.hashes(tmp_path / "run")
    assert run == whole


def test_stages_are_shared_by_the_content_of_weights(run_toy, tmp_path, of_folder, folder):
    """Stages are shared between copies of a checkpoint, and not between checkpoints of different content."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    folders = {"one": folder, "two": copy}
    for name, weights in folders.items():
        run_toy(tmp_path / name, of_folder(weights), until="prompts")
    (copy / "taste.json").write_text("3")
    run_toy(tmp_path / "three", of_folder(copy), until="prompts")
    first, second, third = (
        stage_digests(read_json(tmp_path / name / "run.json")) for name in ("one", "two", "three")
    )
    assert first == second
    assert set(first.values()).isdisjoint(third.values())


def test_weights_that_change_while_they_are_loaded_are_not_used(run_toy, tmp_path, of_folder, folder, monkeypatch):
    """Weights that change while they are loaded are refused before anything is sampled."""
    run_toy(tmp_path / "run", of_folder(), until="prompts")
    toy = importlib.import_module("silmm_toy")
    real = toy.ToyFolder.__init__

    def change(self, options):
        (folder / "taste.json").write_text("7")
        real(self, options)

    monkeypatch.setattr(toy.ToyFolder, "__init__", change)
    with pytest.raises(DataError, match="a checkpoint, changed while the run was going on"):
        run_toy(tmp_path / "run", of_folder())
    assert not list((tmp_path / "run").rglob("candidates/*.json"))


def test_a_worker_refuses_weights_that_changed_before_it_loaded_them(run_toy, tmp_path, of_folder, folder):
    """A worker refuses weights that differ from those the run started with."""
    run_toy(tmp_path / "run", of_folder(), until="prompts")

    class Change:
        def silmm_run_started(self, run):
            (folder / "taste.json").write_text("7")

    with pytest.raises(DataError, match="a checkpoint, changed while the run was going on"):
        run_toy(tmp_path / "run", of_folder(), workers=2, observers=(Change(),))
    assert not list((tmp_path / "run").rglob("candidates/*.json"))


def test_no_hub_is_asked_without_a_hub_id(folder, monkeypatch):
    """A local folder needs neither network nor hub client."""
    monkeypatch.setattr(content, "_commit", None)
    assert digests_of(folder)
