"""A damaged or foreign folder is refused by the name of the file and what was expected in it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from silmm.contracts.models import ChatRequest
from silmm.errors import DataError
from tests.plugins.models.dreamllm.conftest import load
from tests.plugins.models.dreamllm.test_tokenizer import rewrite

SHARD = "model-00002-of-00002.safetensors"


def refused(folder, *words):
    """Load and return nothing; the error has to hold all the words."""
    with pytest.raises(DataError) as caught:
        load(folder)
    message = str(caught.value)
    assert not [word for word in words if word not in message], message


def test_no_folder(tmp_path):
    """A path that is not there is named, and nothing is looked for in the network."""
    refused(tmp_path / "nowhere", "nowhere", "model.path")


def test_another_kind_of_model(own):
    """A folder of another model type says which type it is."""
    rewrite(own / "config.json", lambda value: value.update(model_type="llama"))
    refused(own, "config.json", "'llama'", "expected 'dreamllm'")


def test_no_configuration(own):
    """A folder without config.json, and one with half of it."""
    text = (own / "config.json").read_text()
    (own / "config.json").write_text(text[: len(text) // 2])
    refused(own, "config.json", "is not JSON")
    (own / "config.json").unlink()
    refused(own, "config.json", "cannot be read")


def test_a_missing_shard(own):
    """The missing file is named, not the weights that it would have held."""
    (own / SHARD).unlink()
    refused(own, SHARD, "is missing", "lists 2 files")


def test_a_shard_cut_short(own):
    """A truncated safetensors file is named."""
    content = (own / SHARD).read_bytes()
    (own / SHARD).write_bytes(content[:-100])
    refused(own, SHARD, "cut short or damaged")


def test_an_index_that_points_elsewhere(own):
    """A file name with a folder in it is refused, whatever lies there."""
    rewrite(
        own / "model.safetensors.index.json",
        lambda value: value["weight_map"].update({"lm_head.weight": f"../original/{SHARD}"}),
    )
    refused(own, "index.json", "../original", "of its own folder")


def test_weights_that_config_json_does_not_describe(own):
    """A shape that does not fit is reported with both shapes; a layer too many or too few, by its name."""
    rewrite(own / "config.json", lambda value: value.update(intermediate_size=40))
    refused(own, "mlp.", "(48, 32)", "(40, 32)")
    rewrite(own / "config.json", lambda value: value.update(intermediate_size=48, num_hidden_layers=3))
    refused(own, " lacks ", "model.layers.2.")
    rewrite(own / "config.json", lambda value: value.update(num_hidden_layers=1))
    refused(own, "unknown to", "model.layers.1.")


@pytest.mark.parametrize("name", ["dream_embedding", "clip_vision_embedding", "stable_diffusion_head"])
@pytest.mark.parametrize("how", ["missing", "cut", "foreign", "code"])
def test_a_broken_plugin_file(own, name, how):
    """Each of the three: missing, cut short, tensors of something else, or a pickle that would run code."""
    path = own / f"{name}.bin"
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif how == "foreign":
        torch.save({"weight": torch.zeros(2)}, path)
    else:
        torch.save({"dream_queries": print}, path)
    refused(own, f"{name}.bin")


def test_the_wrong_companions(own):
    """Without the configurations of toy size the known ones do not fit; the option that helps is named."""
    (own.parent / "companions").rename(own.parent / "elsewhere")
    refused(own, "clip_vision_embedding.bin", "model.companions")
    load(own, companions=str(own.parent / "elsewhere"))
    with pytest.raises(DataError, match=r"config\.json is missing; model\.companions has to hold"):
        load(own, companions=str(own))


def test_companions_are_found_by_the_last_part_of_their_name(own):
    """A path of the authors' machine in config.json is a hint for a name, never a place to read."""
    rewrite(
        own / "config.json",
        lambda value: value["plugins_init_kwargs"]["clip_vision_embedding"].update(
            clip_vision_model_name_or_path="/home/someone/cache/clip-vit-large-patch14"
        ),
    )
    load(own)


def test_a_tokenizer_that_is_larger_than_the_vocabulary(own):
    """An id that no embedding stands behind is refused while loading."""
    (own / "added_tokens.json").unlink()
    table = json.loads((own / "config.json").read_text())["special_tokens2ids_dict"]
    table["additional_special_tokens"]["<dream>"] = 5000
    rewrite(own / "config.json", lambda value: value.update(special_tokens2ids_dict=table))
    refused(own, "5001 tokens", "of different checkpoints")


def test_inputs_that_do_not_fit(written):
    """Too long a prompt or request, and features of another shape or with NaN, are refused by name."""
    model = load(written)
    long = "the red cube " * 200
    assert not model.reads(long)
    assert model.reads("the red cube")
    with pytest.raises(DataError, match="the prompt 'the red cube"):
        model.features([long])
    with pytest.raises(DataError, match="the request 'the red cube"):
        model.chat([ChatRequest("write", long)])
    shape = tuple(model.query_embeddings().shape)
    for wrong in (np.zeros((1, 3)), np.full(shape, np.nan)):
        with pytest.raises(DataError, match="finite features of the shape"):
            model.decode([wrong], [0])
