"""A folder that is not right is an error that says which file and what was expected."""

import json
import shutil

import numpy as np
import pytest
import torch
from silmm_plugins.models.seed_llama.model import SeedLlama
from silmm_plugins.models.seed_llama.options import SeedLlamaOptions

from silmm.contracts.models import SamplingParams
from silmm.errors import DataError, UsageError
from tests.plugins.models.seed_llama.tiny_checkpoint import (
    LLM,
    PROMPTS,
    TOKENIZER,
    UNCLIP,
    read,
    write_language_model,
)


@pytest.fixture
def copy(checkpoint, tmp_path):
    """Return a copy of the checkpoint that may be damaged."""
    return shutil.copytree(checkpoint, tmp_path / "copy")


def cut(path):
    """Take the last hundred bytes of a file away."""
    path.write_bytes(path.read_bytes()[:-100])


def test_no_path_says_how_to_give_one():
    """Without a path the error shows the command line's form."""
    with pytest.raises(UsageError, match="--model seed-llama:DIR"):
        SeedLlama.load(SeedLlamaOptions())


def test_a_path_that_is_nothing_is_named(tmp_path):
    """A folder that is not there, and one without a checkpoint, are named."""
    with pytest.raises(DataError, match=r"no folder '/nowhere/at/all'.*model\.path"):
        SeedLlama.load(SeedLlamaOptions(path="/nowhere/at/all"))
    with pytest.raises(DataError, match=rf"{tmp_path} is no SEED-LLaMA"):
        SeedLlama.load(SeedLlamaOptions(path=str(tmp_path)))


def test_an_unknown_hub_id_is_named(monkeypatch):
    """A hub id that cannot be fetched is an error that names it and the option."""
    def refuse(repo_id, **_):
        raise OSError(f"404: there is no repository {repo_id}")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(DataError, match=r"'nobody/nothing'.*404.*model\.path"):
        SeedLlama.load(SeedLlamaOptions(path="nobody/nothing"))


def test_a_folder_of_another_model_is_refused(copy):
    """A config.json of another kind of model is named with its type."""
    path = copy / LLM / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_type": "qwen2"}))
    with pytest.raises(DataError, match=r"config\.json.*'qwen2'.*'llama'"):
        read(copy / LLM)


def test_several_language_models_have_to_be_told_apart(copy):
    """A folder with two of them asks for one."""
    shutil.copytree(copy / LLM, copy / "seed-llama-14b-sft")
    with pytest.raises(UsageError, match=f"seed-llama-14b-sft, {LLM}"):
        read(copy)


def test_a_missing_shard_is_named(copy):
    """A shard that the index names and the folder lacks is named."""
    shard = sorted((copy / LLM).glob("*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(DataError, match=rf"{shard.name} is missing; .*index\.json"):
        read(copy)


def test_a_truncated_pickle_shard_is_named(goldens, tmp_path):
    """So is one of the releases' own .bin shards."""
    golden = goldens / "checkpoints" / "seed-llama"
    shutil.copytree(golden, tmp_path / "seed", copy_function=shutil.copyfile)
    shard = tmp_path / "seed" / "seed-llama-8b-sft" / "pytorch_model-00002-of-00004.bin"
    cut(shard)
    with pytest.raises(DataError, match=rf"{shard.name} cannot be read"):
        SeedLlama.load(SeedLlamaOptions(path=str(tmp_path / "seed"), device="cpu"))


def test_weights_that_are_not_there_are_named(copy):
    """A shard without a weight of the model is refused with the weight's name."""
    path = copy / LLM / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_hidden_layers": 3}))
    with pytest.raises(DataError, match=r"lacks \d+ weights .*model\.layers\.2"):
        read(copy)


def test_weights_of_another_size_are_named(copy):
    """Shapes that config.json does not describe are reported with the first weight and both shapes."""
    path = copy / LLM / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"intermediate_size": 40}))
    with pytest.raises(DataError, match=r"other shapes than config\.json says.*mlp.*48.*40"):
        read(copy)


def test_a_tokenizer_without_image_tokens_is_refused(copy):
    """A plain LLaMA tokenizer in the place of SEED's is named with the token that it lacks."""
    (copy / TOKENIZER / "added_tokens.json").unlink()
    with pytest.raises(DataError, match=r"seed-tokenizer-2 has no token <img_00000>.*model\.tokenizer"):
        read(copy)


def test_a_language_model_without_image_tokens_is_refused(copy):
    """A plain Llama in the place of SEED's is refused with both sizes of vocabulary."""
    shutil.rmtree(copy / LLM)
    write_language_model(copy / LLM, 400)
    with pytest.raises(DataError, match=r"400 tokens and the tokenizer in .* \d+;"):
        read(copy)


@pytest.mark.parametrize("name", ["tokenizer.model", "seed_quantizer.pt"])
def test_a_part_of_the_tokenizer_that_is_damaged_or_missing_is_named(copy, name):
    """Each of the two files, cut off and then gone, is named."""
    cut(copy / TOKENIZER / name)
    with pytest.raises(DataError, match=f"{name}"):
        read(copy)
    (copy / TOKENIZER / name).unlink()
    with pytest.raises(DataError, match=f"no {name}"):
        read(copy)


def test_an_image_encoder_that_is_nowhere_is_asked_for(copy):
    """Without one in seed_quantizer.pt and without eva_vit_g.pth the error says where to get it."""
    path = copy / TOKENIZER / "seed_quantizer.pt"
    weights = torch.load(path, weights_only=True)
    torch.save({k: v for k, v in weights.items() if not k.startswith("visual_encoder.")}, path)
    with pytest.raises(DataError, match=r"eva_vit_g\.pth.*model\.vit"):
        read(copy)


def test_a_pickle_that_runs_code_is_not_read(copy):
    """A seed_quantizer.pt that holds more than weights is refused, and none of its code runs."""
    class Attack:
        def __reduce__(self):
            return (open, (str(copy / "owned"), "w"))

    torch.save({"query_tokens": Attack()}, copy / TOKENIZER / "seed_quantizer.pt")
    with pytest.raises(DataError, match="cannot be read as weights"):
        read(copy)
    assert not (copy / "owned").exists()


def test_without_a_decoder_everything_but_images_works(copy):
    """Sampling codes needs no unCLIP; turning them into images asks for it."""
    shutil.rmtree(copy / UNCLIP)
    model = read(copy)
    z = model.represent(PROMPTS, [1, 2, 3], SamplingParams())
    with pytest.raises(UsageError, match=r"model\.unclip=DIR"):
        model.decode(z, [1, 2, 3])


def test_another_decoder_is_refused(copy):
    """A pipeline of another class is named, at once."""
    index = copy / UNCLIP / "model_index.json"
    index.write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    with pytest.raises(DataError, match="is no unCLIP pipeline"):
        read(copy, unclip=str(copy / UNCLIP))


def test_image_codes_of_another_model_are_refused(model):
    """Codes of a wrong number or range are an error that names the prompt and the value."""
    right = np.zeros(32, np.int32)
    with pytest.raises(DataError, match=r"24 is among the image tokens of prompt 'a red cube'.*0 to 23"):
        model.log_likelihood(PROMPTS[:1], [right + 24])
    with pytest.raises(DataError, match=r"\(31,\); seed-llama takes 32"):
        model.decode([right[1:]], [1])


def test_a_device_that_is_not_there_is_a_usage_error(checkpoint):
    """A misspelt device says so before weights are read."""
    with pytest.raises(UsageError, match=r"'cpuu'"):
        SeedLlama.load(SeedLlamaOptions(path=str(checkpoint), device="cpuu"))
