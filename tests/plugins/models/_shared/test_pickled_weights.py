"""A pickle of weights is read as tensors alone; anything else is told by its file, and nothing in it runs."""

from __future__ import annotations

import pickle

import pytest
import torch
from silmm_plugins.models._shared.pickled_weights import read_pickled

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
    assert torch.equal(read_pickled(path)["a"], weights["a"])
    torch.save({"model": weights, "epoch": 3}, path, _use_new_zipfile_serialization=zipped)
    assert torch.equal(read_pickled(path, wrapper="model")["a"], weights["a"])
    with pytest.raises(DataError, match="does not map names to tensors"):
        read_pickled(path)


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
        read_pickled(path)
    message = str(caught.value)
    assert str(path) in message
    assert "options" not in message
    assert "run" not in capsys.readouterr().out
