"""Weights are found, or the error says all that one needs to get them; nothing is fetched unasked."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from silmm_benchmarks.judges.weight_files import WEIGHTS, digest, fingerprint, locate, weight_files

from silmm.errors import DataError
from silmm.registry.registry import Registry
from silmm.storage.sha256_cache import sha256_file

ONE_FILE = ("clip-vit-b-32", "blip-vqa")
"""Judges whose published weights may be a single pickle."""


@pytest.fixture
def data_root(tmp_path, monkeypatch):
    """An empty folder for weights."""
    monkeypatch.setenv("SILMM_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def no_network(monkeypatch):
    """Any connection fails the test."""
    def refuse(*_: object) -> None:
        raise AssertionError("a judge reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("judge", sorted(WEIGHTS))
def test_missing_weights_are_told_in_full(judge, data_root, no_network):
    """Building a judge without weights names file, home, licence, size and place, and fetches nothing."""
    with pytest.raises(DataError) as caught:
        Registry.load().build("judge", judge, {})
    message, home = str(caught.value), WEIGHTS[judge]
    for part in (home.file, home.url, home.licence, home.size, str(data_root / home.folder), judge):
        assert part in message


def test_weights_lie_under_the_data_root_or_where_they_are_named(data_root):
    """The judge's own folder is the default; a path comes before it."""
    default, named = data_root / "dpt", data_root / "elsewhere"
    for folder in (default, named):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"weights")
    assert locate("dpt-hybrid", "") == default
    assert locate("dpt-hybrid", str(named)) == named
    assert locate("dpt-hybrid", str(named / "model.safetensors")) == named / "model.safetensors"


def test_an_empty_folder_is_no_weights(data_root):
    """A folder that was made and never filled counts as missing."""
    (data_root / "clip").mkdir()
    with pytest.raises(DataError, match="finds no weights"):
        locate("clip-vit-b-32", "")


def test_a_download_that_cannot_be_is_our_error(monkeypatch, data_root):
    """A hub id that nobody can have, or a hub that does not answer, is told with the way out."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in ("Intel/dpt-hybrid-midas", "../../etc", "a b"):
        with pytest.raises(DataError, match=r"cannot be downloaded: .*check the id"):
            locate("dpt-hybrid", f"hub:{name}")


def test_safetensors_come_before_pickles(tmp_path):
    """Where a folder holds both, the pickle is not among the weights; without either it is an error."""
    for name in ("pytorch_model.bin", "model-1.safetensors", "model-0.safetensors", "config.json"):
        (tmp_path / name).write_bytes(name.encode())
    assert [path.name for path in weight_files(tmp_path)] == ["model-0.safetensors", "model-1.safetensors"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no weights"):
        weight_files(tmp_path / "empty")


def test_the_fingerprint_changes_with_every_file(tmp_path):
    """Another weight or vocabulary is another judge; the same bytes elsewhere, with other notes, are not."""
    def write(folder: Path, **changes: str) -> dict[str, str]:
        folder.mkdir(parents=True)
        for name, text in ({"a.safetensors": "x", "b.safetensors": "y", "vocab.txt": "z"} | changes).items():
            (folder / name).write_text(text)
        return fingerprint(folder)

    same = [write(tmp_path / "1"), write(tmp_path / "2", **{"recorded-sha256.json": "{}", "README.txt": ""})]
    others = [write(tmp_path / "3", **{"b.safetensors": "Y"}), write(tmp_path / "4", **{"vocab.txt": "Z"})]
    assert same[0] == same[1]
    assert len({tuple(sorted(one.items())) for one in [*same, *others]}) == 3


def test_the_digest_of_one_file_is_its_sha256(tmp_path):
    """A single file's hash can be compared with the one that its home publishes."""
    path = tmp_path / "a.pth"
    path.write_bytes(b"weights")
    assert digest([path]) == sha256_file(path)
    assert fingerprint(path) == {"weights_sha256": sha256_file(path)}


@pytest.mark.parametrize("judge", ["dpt-hybrid", "mpnet-match", "vilt", "detector", *ONE_FILE])
@pytest.mark.parametrize("content", [b"", b"no weights at all", b"\x80\x02garbage"])
def test_broken_files_are_our_error(judge, content, data_root):
    """Cut off, foreign or empty files stop with their place and the way out, whatever the loader raises."""
    folder = data_root / WEIGHTS[judge].folder
    folder.mkdir()
    name = "model.pth" if judge in ONE_FILE else "model.safetensors"
    (folder / name).write_bytes(content)
    if judge not in ONE_FILE:
        (folder / "config.json").write_bytes(content)
    with pytest.raises(DataError, match=str(folder)):
        Registry.load().build("judge", judge, {})
