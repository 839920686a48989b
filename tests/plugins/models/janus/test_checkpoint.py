"""A folder that is not a whole Janus is refused, naming the file and what was expected."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from silmm_plugins.models.janus.checkpoint import open_checkpoint
from silmm_plugins.models.janus.image_processor import ImageProcessor
from silmm_plugins.models.janus.original_layout import renamed

from silmm.errors import DataError, UsageError

NAMES = {
    "language_model.model.layers.0.self_attn.q_proj.weight":
        "model.language_model.layers.0.self_attn.q_proj.weight",
    "language_model.lm_head.weight": "lm_head.weight",
    "gen_embed.weight": "model.generation_embeddings.weight",
    "gen_aligner.layers.0.bias": "model.generation_aligner.fc1.bias",
    "gen_aligner.layers.4.bias": "model.generation_aligner.hidden_layers.1.bias",
    "gen_head.output_mlp_projector.weight": "model.generation_head.proj_out.weight",
    "gen_head.vision_head.weight": "model.generation_head.vision_head.weight",
    "aligner.layers.2.weight": "model.aligner.hidden_layers.0.weight",
    "gen_vision_model.encoder.conv_blocks.4.res.1.norm1.weight":
        "model.vqmodel.encoder.down.4.block.1.norm1.weight",
    "gen_vision_model.decoder.conv_blocks.0.attn.2.proj_out.bias":
        "model.vqmodel.decoder.up.0.attn.2.proj_out.bias",
    "gen_vision_model.encoder.mid.1.norm.weight": "model.vqmodel.encoder.mid.attn_1.norm.weight",
    "gen_vision_model.decoder.mid.2.conv1.weight": "model.vqmodel.decoder.mid.block_2.conv1.weight",
    "vision_model.vision_tower.blocks.23.norm2.bias": "model.vision_model.encoder.layers.23.layer_norm2.bias",
    "vision_model.vision_tower.blocks.3.attn.proj.bias":
        "model.vision_model.encoder.layers.3.self_attn.projection_layer.bias",
    "vision_model.vision_tower.norm.weight": "model.vision_model.post_layernorm.weight",
}  # fmt: skip


@pytest.fixture
def copy(folder, tmp_path) -> Path:
    """A copy of the random checkpoint that a test may damage."""
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def refused(folder: Path) -> str:
    """Return the message with which a folder is refused."""
    with pytest.raises(DataError) as caught:
        open_checkpoint(str(folder), dtype="auto", revision=None)
    return str(caught.value)


def edit(path: Path, **changes: object) -> None:
    """Change keys of a JSON file; None removes one."""
    stored = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in stored.items() if value is not None}))


def shard(folder: Path) -> list[Path]:
    """Split the weights of a folder into two files with an index."""
    weights = load_file(folder / "model.safetensors")
    names = sorted(weights)
    paths = [folder / f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    owners = {}
    for path, part in zip(paths, (names[::2], names[1::2]), strict=True):
        save_file({name: weights[name] for name in part}, path)
        owners |= dict.fromkeys(part, path.name)
    index = {"metadata": {}, "weight_map": owners}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model.safetensors").unlink()
    return paths


def test_shards_are_one_model(load, folder, copy):
    """Weights in shards give the same tensors as in one file."""
    shard(copy)
    whole, parts = load(folder).backbone.state_dict(), load(copy).backbone.state_dict()
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())


def test_a_bin_file_is_as_good(load, folder, copy):
    """A pytorch_model.bin is read as weights only and gives the same tensors."""
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    whole, other = load(folder).backbone.state_dict(), load(copy).backbone.state_dict()
    assert all(torch.equal(tensor, other[name]) for name, tensor in whole.items())


def test_another_model_is_refused(copy):
    """A folder of another model type is told apart by config.json."""
    edit(copy / "config.json", model_type="llama")
    message = refused(copy)
    assert "config.json" in message
    assert "'llama'" in message
    assert "'multi_modality'" in message


def test_a_relative_of_the_original_layout_is_refused(copy):
    """A `multi_modality` folder without Janus's image tokenizer names the first part that is missing."""
    edit(copy / "config.json", model_type="multi_modality", language_config={})
    assert "vision_model.vision_tower.pos_embed" in refused(copy)


def test_a_missing_shard_is_named(copy):
    """The shard that the index names and the folder lacks is in the message."""
    lost = shard(copy)[1]
    lost.unlink()
    assert lost.name in refused(copy)


def test_missing_and_odd_tensors_are_named(copy):
    """A tensor that the files lack, or of another shape than config.json says, is named."""
    path = copy / "model.safetensors"
    weights = load_file(path)
    name = "model.generation_head.vision_head.bias"
    save_file({key: value for key, value in weights.items() if key != name}, path)
    assert f"first is {name!r}" in refused(copy)
    save_file(weights | {name: torch.zeros(3)}, path)
    message = refused(copy)
    assert name in message
    assert "(3,)" in message


def test_an_output_matrix_of_its_own_is_kept(load, copy):
    """Where config.json says nothing of tying, the files decide: the head of the file is not thrown away."""
    edit(copy / "config.json", tie_word_embeddings=None)
    backbone = load(copy).backbone
    stored = load_file(copy / "model.safetensors")
    assert torch.equal(backbone.lm_head.weight, stored["lm_head.weight"])
    assert not torch.equal(backbone.lm_head.weight, backbone.model.language_model.embed_tokens.weight)


def test_a_tied_output_matrix_is_the_embeddings(load, copy):
    """Files without an output matrix share the embeddings."""
    path = copy / "model.safetensors"
    save_file({key: value for key, value in load_file(path).items() if key != "lm_head.weight"}, path)
    backbone = load(copy).backbone
    assert backbone.lm_head.weight is backbone.model.language_model.embed_tokens.weight


@pytest.mark.parametrize("token", ["<begin_of_image>", "<image_placeholder>", "<end_of_image>"])
def test_a_tokenizer_without_the_image_tokens_is_refused(copy, token):
    """The token that the vocabulary lacks is named with the file."""
    path = copy / "tokenizer.json"
    path.write_text(path.read_text().replace(token, "<other>"))
    message = refused(copy)
    assert str(path) in message
    assert repr(token) in message


def test_a_tokenizer_of_another_model_is_refused(copy):
    """Ids beyond the model's vocabulary are found at once, not at the first prompt."""
    path = copy / "config.json"
    edit(path, text_config=json.loads(path.read_text())["text_config"] | {"vocab_size": 5})
    assert "the tokenizer belongs to another model" in refused(copy)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_damaged_or_missing_text_file_is_named(copy, name):
    """config.json and tokenizer.json have to be there and whole."""
    (copy / name).write_text("{")
    assert name in refused(copy)
    (copy / name).unlink()
    assert name in refused(copy)


def test_a_path_is_needed():
    """Without a path the message says how to give one."""
    with pytest.raises(UsageError, match=r"model\.path"):
        open_checkpoint("", dtype="auto", revision=None)


def test_a_missing_folder_is_not_looked_up(tmp_path):
    """What cannot be a hub id is a folder that does not exist."""
    with pytest.raises(DataError, match="there is no folder"):
        open_checkpoint(str(tmp_path / "nothing"), dtype="auto", revision=None)


def test_an_unknown_hub_id_says_both(monkeypatch):
    """An id that the hub does not give is told with the hub's reason; here the network is off."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="no folder 'nobody/no-such-janus', and the hub does not give"):
        open_checkpoint("nobody/no-such-janus", dtype="auto", revision=None)


def test_original_names_become_transformers_names():
    """The names of every part of the original layout, and what is split, squeezed and left out."""
    found = renamed({name: torch.zeros(1) for name in NAMES})
    assert sorted(found) == sorted(NAMES.values())
    tower = "vision_model.vision_tower."
    more = renamed(
        {
            f"{tower}pos_embed": torch.zeros(1, 4, 2),
            f"{tower}blocks.0.attn.qkv.weight": torch.arange(6.0).reshape(6, 1),
            f"{tower}attn_pool.q.weight": torch.zeros(2),
            "gen_vision_model.quantize.codebook_used": torch.zeros(2),
        }
    )
    assert more.pop("model.vision_model.embeddings.position_embedding.weight").shape == (4, 2)
    attention = "model.vision_model.encoder.layers.0.self_attn."
    split = {name.removeprefix(attention): tensor.flatten().tolist() for name, tensor in more.items()}
    assert split == {"q_proj.weight": [0, 1], "k_proj.weight": [2, 3], "v_proj.weight": [4, 5]}


def test_preprocessing_is_read_from_the_checkpoint(load, copy):
    """Mean, deviation, padding colour and shortest side come from the folder, in either layout's file."""
    stored = {"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 3], "min_size": 5, "image_size": 16}
    expected = ImageProcessor(16, 5, (0.1, 0.2, 0.3), (1.0, 2.0, 3.0), (25, 51, 76))
    (copy / "processor_config.json").write_text(json.dumps({"image_processor": stored}))
    assert load(copy).processor == expected
    (copy / "processor_config.json").unlink()
    (copy / "preprocessor_config.json").write_text(json.dumps(stored))
    assert load(copy).processor == expected


def test_the_probe_tells_what_the_folder_says(load, folder, copy):
    """Ids, templates and sizes are told; an image token on which two files differ is a problem."""
    found = load(folder).probe()
    assert found["problems"] == []
    assert found["sampling template"].endswith("<|User|>: PROMPT\n\n<|Assistant|>:<begin_of_image>")
    assert set(found["yes ids"]) & {"yes", "Yes", " yes", " Yes"}
    assert found["image tokenizer"]["codes per image"] == 16
    assert json.loads(json.dumps(found))["unused tensors"] == []
    edit(copy / "config.json", image_token_id=3)
    assert "image_token_id 3" in load(copy).probe()["problems"][0]
