"""A foreign or damaged pipeline folder, and inputs that do not fit, are refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from silmm.errors import DataError, UsageError
from tests.plugins.models.vlm_diffusion.conftest import load


@pytest.fixture
def own(written: Path, tmp_path: Path) -> Path:
    """A copy of the pipeline that a test may damage."""
    return Path(shutil.copytree(written, tmp_path / "copy"))


def refused(folder, *words):
    """Load and return nothing; the error has to hold all the words."""
    with pytest.raises(DataError) as caught:
        load(folder)
    message = str(caught.value)
    assert not [word for word in words if word not in message], message


def test_no_path_and_no_folder(tmp_path):
    """Without a path it says what to give; a path that is not there is named."""
    with pytest.raises(UsageError, match=r"model\.path=DIR"):
        load("")  # type: ignore[arg-type]
    refused(tmp_path / "nowhere", "nowhere", "model.path")


def test_another_kind_of_pipeline(own):
    """Another pipeline and a folder without an index say what was found and what is known."""
    index = own / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "_class_name": "FluxPipeline"}))
    refused(own, "FluxPipeline", "QwenImagePipeline")
    index.unlink()
    refused(own, "model_index.json", "cannot be read")


@pytest.mark.parametrize("part", ["text_encoder", "transformer", "vae", "tokenizer"])
def test_a_missing_part(own, part):
    """The folder that is missing is named."""
    shutil.rmtree(own / part)
    refused(own, part, "is missing")


@pytest.mark.parametrize("part", ["text_encoder", "transformer", "vae"])
@pytest.mark.parametrize("how", ["missing", "cut"])
def test_broken_weights(own, part, how):
    """A part without its weights file is an error that names the folder; one that is cut short is named."""
    (path,) = (own / part).glob("*.safetensors")
    path.unlink() if how == "missing" else path.write_bytes(path.read_bytes()[:-100])
    refused(own, str(path if how == "cut" else own), "again")


def test_a_language_model_with_a_layer_too_few(own):
    """Weights that the configuration asks for and the file lacks are named, not sampled at random."""
    path = own / "text_encoder" / "config.json"
    config = json.loads(path.read_text())
    config["text_config"].update(num_hidden_layers=3, layer_types=["full_attention"] * 3)
    path.write_text(json.dumps(config))
    refused(own, "text_encoder", " lacks ", "layers.2.")


def test_inputs_that_do_not_fit(written):
    """Too long a prompt, offsets for queries that there are none of, features of another shape."""
    model = load(written)
    assert not model.reads("word " * 100)
    with pytest.raises(DataError, match=r"raise model\.tokens"):
        model.features(["word " * 100])
    with pytest.raises(DataError, match="no query embeddings"):
        model.features(["a cat"], torch.zeros(1, 1, 1))
    with pytest.raises(DataError, match="an image of 900x1 pixels"):
        model.yes_no([np.zeros((1, 900, 3), np.uint8)], [["Is there a cat?"]])
    for wrong in (np.zeros((1, 3)), np.zeros(model.shape), np.full(model.shape, np.nan)):
        with pytest.raises(DataError, match="finite features of the shape"):
            model.decode([wrong], [0])


def test_settings_that_do_not_fit(written):
    """A device that is not there, and a side that the patches do not fill."""
    with pytest.raises(UsageError, match="vlm-diffusion cannot use the device 'nonsense'"):
        load(written, device="nonsense")
    with pytest.raises(UsageError, match=r"model\.side=33 is not a multiple of 8"):
        load(written, side=33)
