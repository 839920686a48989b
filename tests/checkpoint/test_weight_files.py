"""Promises of weight files: found as transformers finds them, read as tensors alone, and damage named by file."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from silmm.checkpoint.weight_files import check_safetensors, read_pickle, read_weights, weight_files
from silmm.errors import DataError


class Payload:
    """What a pickle could run."""

    def __reduce__(self):
        """Say what a pickle would call."""
        return (print, ("run",))


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_by_name(tmp_path, zipped):
    """Today's files and those of before torch 1.6 are read, and the table that some releases wrap."""
    path, weights = tmp_path / "weights.bin", {"a": torch.arange(3.0)}
    torch.save(weights, path, _use_new_zipfile_serialization=zipped)
    assert torch.equal(read_pickle(path)["a"], weights["a"])
    torch.save({"model": weights, "epoch": 3}, path, _use_new_zipfile_serialization=zipped)
    assert torch.equal(read_pickle(path, ["model"])["a"], weights["a"])
    with pytest.raises(DataError, match="does not map names to tensors"):
        read_pickle(path)


@pytest.mark.parametrize("how", ["missing", "empty", "cut", "cut old", "list", "code", "text"])
def test_anything_else_is_refused(tmp_path, how, capsys):
    """The file is named with what is wrong, and torch's advice to run what is in it is not passed on."""
    path = tmp_path / "weights.bin"
    torch.save({"a": torch.zeros(300)}, path, _use_new_zipfile_serialization=how != "cut old")
    if how == "missing":
        path.unlink()
    elif how == "list":
        torch.save([torch.zeros(3)], path)
    elif how == "code":
        path.write_bytes(pickle.dumps({"a": Payload()}, protocol=2))
    elif how in ("empty", "text"):
        path.write_bytes(b"" if how == "empty" else b"version https://git-lfs.github.com/spec/v1\n")
    elif how != "missing":
        path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError) as caught:
        read_pickle(path)
    message = str(caught.value)
    assert str(path) in message
    assert "options" not in message
    assert "run" not in capsys.readouterr().out


def sharded(folder: Path, name: str = "model.safetensors") -> list[Path]:
    """Write two tensors in two files with an index; return the files."""
    paths = [folder / f"model-0000{i}-of-00002{Path(name).suffix}" for i in (1, 2)]
    for path, key in zip(paths, ("text.a", "image.b"), strict=True):
        tensors = {key: torch.ones(2)}
        save_file(tensors, path) if path.suffix == ".safetensors" else torch.save(tensors, path)
    table = {"text.a": paths[0].name, "image.b": paths[1].name}
    (folder / f"{name}.index.json").write_text(json.dumps({"weight_map": table}))
    return paths


def test_files_are_found_in_the_order_of_transformers(tmp_path):
    """A single safetensors file comes before shards, and both before pickles, which may be refused."""
    pickles = sharded(tmp_path, "pytorch_model.bin")
    assert weight_files(tmp_path) == pickles
    with pytest.raises(DataError, match=r"expected model\.safetensors, or shards"):
        weight_files(tmp_path, pickles=False)
    (tmp_path / "pytorch_model.bin").touch()
    assert weight_files(tmp_path) == [tmp_path / "pytorch_model.bin"]
    shards = sharded(tmp_path)
    assert weight_files(tmp_path) == shards
    (tmp_path / "model.safetensors").touch()
    assert weight_files(tmp_path) == [tmp_path / "model.safetensors"]


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_shards_are_one_table(tmp_path, name):
    """All tensors come together, or those of a prefix under the rest of their names."""
    paths = sharded(tmp_path, name)
    assert set(read_weights(paths)) == {"text.a", "image.b"}
    assert set(read_weights(paths, "image.")) == {"b"}


@pytest.mark.parametrize("table", [{}, {"a": "../model.safetensors"}, {"a": "/model.bin"}, {"a": "config.json"}, []])
def test_an_index_names_weights_of_its_own_folder_alone(tmp_path, table):
    """An empty index, one that points elsewhere, and one that names another kind of file are refused."""
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))
    with pytest.raises(DataError, match=r"model\.safetensors\.index\.json (maps no weights|names the file)"):
        weight_files(tmp_path)


def test_a_missing_shard_is_named(tmp_path):
    """The message holds the file, not the weights that it would have held."""
    lost = sharded(tmp_path)[1]
    lost.unlink()
    with pytest.raises(DataError, match=rf"{lost.name} is missing; .* lists 2 files"):
        weight_files(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_safetensors_file_that_is_cut_short_is_named(tmp_path, share):
    """Wherever it ends, both its header's check and its reading say so."""
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(300)}, path)
    path.write_bytes(path.read_bytes()[: int(len(path.read_bytes()) * share)])
    for attempt in (check_safetensors, read_weights):
        with pytest.raises(DataError, match=rf"{path} cannot be read as weights: it is cut short or damaged"):
            attempt([path])
