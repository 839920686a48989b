"""The weights that the embedded models are shipped with: small, as recorded, and refused when damaged."""

import hashlib
import json
from pathlib import Path

import pytest
from silmm_plugins.models.tiny.options import verify
from silmm_plugins.models.tiny_continuous.model import TinyContinuous
from silmm_plugins.models.tiny_continuous.options import WEIGHTS as CONTINUOUS
from silmm_plugins.models.tiny_discrete.model import TinyDiscrete
from silmm_plugins.models.tiny_discrete.options import WEIGHTS as DISCRETE

from silmm.errors import DataError, UsageError

RESULTS = Path(__file__).parents[3] / "docs" / "results"
FILES = {
    DISCRETE: ("config.json", "image_tokenizer.safetensors", "language_model.safetensors"),
    CONTINUOUS: ("config.json", "language_model.safetensors", "decoder.safetensors"),
}
MODELS = {"tiny-discrete": (TinyDiscrete, DISCRETE), "tiny-continuous": (TinyContinuous, CONTINUOUS)}

pytestmark = pytest.mark.parametrize(("model", "weights"), MODELS.values(), ids=MODELS)


@pytest.mark.parametrize("cut", [0, 1, 2, None])
def test_damaged_weights_are_refused(model, weights, cut, tmp_path):
    """Each file cut short, or all of them missing: an error that names the folder and what to do."""
    for index, name in enumerate(FILES[weights] if cut is not None else ()):
        content = (weights / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) - 100 * (index == cut)])
    with pytest.raises(DataError, match="train them again"):
        model.load(tmp_path)


def test_the_shipped_weights_have_the_recorded_hashes_and_are_small(model, weights):
    """Hashes match sha256.json, and all files together stay within 15 MB."""
    assert "verified" in verify(weights)
    files = list(weights.iterdir())
    assert {f.name for f in files} == {*FILES[weights], "sha256.json"}
    assert sum(f.stat().st_size for f in files) <= 15e6
    recorded = json.loads((weights / "sha256.json").read_text())
    for name in FILES[weights]:
        assert recorded[name] == hashlib.sha256((weights / name).read_bytes()).hexdigest()


def test_the_results_were_measured_on_these_weights(model, weights):
    """The figures that the model cards quote belong to the shipped files."""
    measured = json.loads((RESULTS / f"{model.name}.json").read_text())
    assert measured["weights"] == hashlib.sha256((weights / "sha256.json").read_bytes()).hexdigest()
    assert measured["VQA accuracy"]["overall"]["right"] >= 0.92


@pytest.mark.parametrize("device", ["cpuu", "cuda:99"])
def test_a_device_that_is_not_there_is_a_usage_error(model, weights, device, tmp_path):
    """A misspelt device, and one beyond what the machine has, are refused before weights are read."""
    with pytest.raises(UsageError, match=f"{model.name} cannot use the device '{device}'.*model.device=cpu"):
        model.load(tmp_path, device)
