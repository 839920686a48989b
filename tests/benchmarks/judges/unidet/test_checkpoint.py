"""A checkpoint is read strictly: its layout, its shapes, its numbers; nothing in it is ever run."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from silmm_benchmarks.judges.unidet.architecture import R50, RS200
from silmm_benchmarks.judges.unidet.checkpoint import load_network
from silmm_benchmarks.judges.unidet.unidet_files import OFFICIAL, digest, read_labels

from silmm.errors import DataError
from tests.benchmarks.judges.unidet import recipe
from tests.conftest import OfficialData

VARIANCE = "backbone.bottom_up.res2.0.conv1.norm.running_var"
State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def complete() -> State:
    """Give the state dict of the narrow ResNeSt network."""
    return recipe.network(recipe.TINY_RS50, cls_gain=2.0, cls_bias=-11.5).state_dict()


@pytest.fixture
def state(complete: State) -> State:
    """Give a copy that a test may change."""
    return {name: value.clone() for name, value in complete.items()}


def saved(folder: Path, content: object) -> Path:
    path = folder / "weights.pth"
    torch.save(content, path)
    return path


def assert_loaded(path: Path, state: State) -> None:
    network, mended = load_network(path, recipe.TINY_RS50)
    assert mended == 0
    assert not network.training
    loaded = network.state_dict()
    assert list(loaded) == list(state)
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


def test_wrapped_and_bare(tmp_path: Path, state: State) -> None:
    """A bare table, one inside `model` beside a training's state, and safetensors load alike."""
    assert_loaded(saved(tmp_path, state), state)
    assert_loaded(saved(tmp_path, {"model": state, "optimizer": {"step": 7}, "iteration": 3}), state)
    save_file(state, tmp_path / "weights.safetensors")
    assert_loaded(tmp_path / "weights.safetensors", state)


def test_numpy_values(tmp_path: Path, state: State) -> None:
    """detectron2's own files hold numpy arrays: they are read by the restricted unpickler as well."""
    arrays = {name: value.numpy() for name, value in state.items()}
    assert_loaded(saved(tmp_path, {"model": arrays}), state)


def test_arrays_of_something_else(tmp_path: Path, state: State) -> None:
    """An array of texts or objects, or a bare number, in the place of a weight is named."""
    for strange in (np.array(["a"] * 32), np.array([{}] * 32), np.float32(1.0), [0.0] * 32):
        path = saved(tmp_path, {**state, "backbone.top_block.p6.bias": strange})
        with pytest.raises(DataError, match=r"p6\.bias|more than tensors"):
            load_network(path, recipe.TINY_RS50)


def test_numpy_numbers_beside_the_weights(tmp_path: Path, state: State) -> None:
    """Numbers of numpy in the state of a training, as schedules keep them, do not hinder reading."""
    schedule = {"base_lrs": [np.float64(0.01)], "last_epoch": np.int64(7)}
    assert_loaded(saved(tmp_path, {"model": state, "scheduler": schedule}), state)


def test_old_file_format(tmp_path: Path, state: State) -> None:
    """Files of torch before 1.6, which are no zip archives, load too."""
    path = tmp_path / "weights.pth"
    torch.save({"model": state}, path, _use_new_zipfile_serialization=False)
    assert_loaded(path, state)


def test_half_precision_values(tmp_path: Path, state: State) -> None:
    """Numbers stored in float16 are computed with in float32."""
    path = saved(tmp_path, {name: v.half() if v.is_floating_point() else v for name, v in state.items()})
    network, _ = load_network(path, recipe.TINY_RS50)
    assert {v.dtype for v in network.state_dict().values()} == {torch.float32, torch.int64}


def test_names_that_may_differ(tmp_path: Path, state: State) -> None:
    """Counters may be missing or more; stored means and anchors are not used."""
    kept = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    kept["backbone.bottom_up.stem.conv1_1.norm.num_batches_tracked"] = torch.tensor(5)
    kept["pixel_mean"] = torch.full((3, 1, 1), 1e9)
    kept["proposal_generator.anchor_generator.cell_anchors.0"] = torch.full((9, 4), 1e9)
    network, _ = load_network(saved(tmp_path, kept), recipe.TINY_RS50)
    image = [recipe.tensor(recipe.image("a", 64, 64))]
    expected = recipe.network(recipe.TINY_RS50, cls_gain=2.0, cls_bias=-11.5)(image)[0]
    assert torch.equal(network(image)[0].scores, expected.scores)


def test_missing_unknown_and_misshapen(tmp_path: Path, state: State) -> None:
    """One message counts and names what is missing, unknown and of another shape."""
    del state["roi_heads.box_head.0.fc1.bias"]
    state["roi_heads.mask_head.weight"] = torch.zeros(1)
    state["backbone.top_block.p6.bias"] = torch.zeros(7)
    with pytest.raises(DataError) as caught:
        load_network(saved(tmp_path, state), recipe.TINY_RS50)
    message = str(caught.value)
    assert "1 missing: roi_heads.box_head.0.fc1.bias" in message
    assert "1 unknown: roi_heads.mask_head.weight" in message
    assert "1 of another shape: backbone.top_block.p6.bias (7,) instead of (32,)" in message


def test_the_other_network_is_recognised(tmp_path: Path, state: State) -> None:
    """A file of the other network, or of another model, is called by its name."""
    with pytest.raises(DataError, match=r"not a checkpoint of unidet-r50.*resembles unidet-rs200"):
        load_network(saved(tmp_path, state), R50)
    with pytest.raises(DataError, match="resembles no UniDet checkpoint"):
        load_network(saved(tmp_path, {"weight": torch.zeros(2)}), RS200)
    state["roi_heads.box_predictor.2.cls_score.0.weight"] = torch.zeros(2)
    with pytest.raises(DataError, match="partitioned UniDet"):
        load_network(saved(tmp_path, state), RS200)


def test_variances(tmp_path: Path, state: State) -> None:
    """A variance that would give NaN is refused by name, or mended on request and counted."""
    state[VARIANCE][3] = -1e-5
    path = saved(tmp_path, state)
    with pytest.raises(DataError, match=f"1 norms \\({VARIANCE}\\).*repair_variances"):
        load_network(path, recipe.TINY_RS50)
    network, mended = load_network(path, recipe.TINY_RS50, repair=True)
    assert mended == 1
    assert network([recipe.tensor(recipe.image("a", 64, 64))])[0].scores.isfinite().all()


def test_numbers_that_are_none(tmp_path: Path, state: State) -> None:
    """A file with NaN is damaged, and the parameter is named."""
    state["backbone.top_block.p7.weight"][0, 0, 0, 0] = float("nan")
    with pytest.raises(DataError, match=r"damaged.*top_block\.p7\.weight"):
        load_network(saved(tmp_path, state), recipe.TINY_RS50)


class Attack:
    """Writes a file when it is unpickled by an ordinary unpickler."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> object:
        """Ask the unpickler to make a folder."""
        return os.mkdir, (self.path,)


def test_nothing_in_a_file_is_run(tmp_path: Path, state: State) -> None:
    """A file with an object that would run code is refused, and the code does not run."""
    path = saved(tmp_path, {"model": state, "extra": Attack(str(tmp_path / "harm"))})
    with pytest.raises(DataError, match="more than tensors"):
        load_network(path, recipe.TINY_RS50)
    assert not (tmp_path / "harm").exists()
    pickle.loads(pickle.dumps(Attack(str(tmp_path / "harm"))))  # noqa: S301 - our own: it does bite
    assert (tmp_path / "harm").exists()


@pytest.mark.parametrize("content", [b"", b"<html>quota exceeded</html>", b"PK\x03\x04 cut off"])
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_files_that_are_no_checkpoints(tmp_path: Path, name: str, content: bytes) -> None:
    """An empty file, a web page and a cut archive are typed errors that name the file."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=name):
        load_network(path, RS200)


def test_a_cut_checkpoint(tmp_path: Path, state: State) -> None:
    """Half of a download is a typed error."""
    path = saved(tmp_path, state)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match="cannot be read"):
        load_network(path, recipe.TINY_RS50)


def test_a_list_of_tensors_is_no_checkpoint(tmp_path: Path) -> None:
    """What is no table by name is refused."""
    with pytest.raises(DataError, match="no table"):
        load_network(saved(tmp_path, [torch.zeros(1)]), RS200)


NAMES = [f"thing {i}" for i in range(722)]


def test_labels_of_the_official_file(tmp_path: Path) -> None:
    """The list `labels` of the official file and a JSON list give the same names in the same order."""
    torch.save({"labels": NAMES, "clip_features": np.zeros((2, 3), np.float32)}, tmp_path / "labels.pt")
    (tmp_path / "labels.json").write_text(str(NAMES).replace("'", '"'))
    assert read_labels(tmp_path / "labels.pt") == read_labels(tmp_path / "labels.json") == tuple(NAMES)


@pytest.mark.parametrize("content", ["[]", '["a"]', "{", "722", str([1] * 722)])
def test_other_lists_are_refused(tmp_path: Path, content: str) -> None:
    """Fewer names, no names, or no JSON are typed errors."""
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(DataError, match="722 "):
        read_labels(tmp_path / "labels.json")


def test_official_names_are_known_by_their_hash(official_data: OfficialData) -> None:
    """The official list has 722 names and the hash that identities call official."""
    names = read_labels(official_data("t2i-compbench/unidet_labels_722.json"))
    assert digest(names) == OFFICIAL
