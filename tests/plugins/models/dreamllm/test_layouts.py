"""Layouts that a checkpoint may have besides the recorded one, and the sizes of the real model."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from silmm_plugins.models.dreamllm.companions import CLIP_L, UNET_2_1, VAE_2_1
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

from silmm.checkpoint.networks import empty_network
from silmm.contracts.models import ChatRequest, SamplingParams
from tests.plugins.models.dreamllm.conftest import load
from tests.plugins.models.dreamllm.tiny_checkpoint import write

PROMPT = "the red cube is on the left"


def sampled(model):
    """Return H of the prompt and its image."""
    h = model.represent([PROMPT], [0], SamplingParams())
    return h[0], model.decode(h, [5])[0]


def test_one_pickled_file_gives_what_shards_give(written, tmp_path):
    """`pytorch_model.bin` and sharded safetensors of the same weights sample the same."""
    pickled = write(tmp_path / "pickled", pickled=True)
    for item, other in zip(sampled(load(pickled)), sampled(load(written)), strict=True):
        assert np.array_equal(item, other)


def test_deep_projectors_are_read_from_their_names(tmp_path):
    """A projector of two linear maps is built with GELU between them."""
    model = load(write(tmp_path, projector="mlp"))
    kinds = [type(layer) for layer in model.decoder.condition]
    assert kinds == [nn.Linear, nn.GELU, nn.Linear]
    assert sampled(model)[1].shape == (16, 16, 3)
    assert model.yes_no([np.zeros((40, 30, 3), np.uint8)], [["Is there a cat?"]])[0].shape == (1, 2)


def test_old_names_of_the_vaes_attention(own):
    """A decoder file with the attention names of early diffusers samples the same image."""
    expected = sampled(load(own))[1]
    path = own / "stable_diffusion_head.bin"
    weights = torch.load(path, weights_only=True)
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    renamed = {}
    for name, tensor in weights.items():
        match = re.fullmatch(r"(vae\..*attentions\.\d+\.)(to_q|to_k|to_v|to_out\.0)(\..*)", name)
        renamed[f"{match[1]}{old[match[2]]}{match[3]}" if match else name] = tensor
    assert set(renamed) != set(weights)
    torch.save(renamed, path)
    assert np.array_equal(sampled(load(own))[1], expected)


def test_options_of_decoding_change_the_image(written):
    """Guidance, steps and the negative prompt reach the decoder; guidance 1 is the condition alone."""
    h = load(written).represent([PROMPT], [0], SamplingParams())
    images = [
        load(written, **options).decode(h, [5])[0]
        for options in ({}, {"guidance": 1.0}, {"steps": 5}, {"negative_prompt": "the blue sphere"})
    ]
    assert len({image.tobytes() for image in images}) == 4


def test_a_prefix_is_part_of_the_prompt(written):
    """`prompt_prefix` samples what the longer prompt samples."""
    prefixed = load(written, prompt_prefix="no cat, ").represent([PROMPT], [0], SamplingParams())[0]
    assert np.array_equal(prefixed, load(written).represent([f"no cat, {PROMPT}"], [0], SamplingParams())[0])


def test_replies_keep_to_their_length_and_their_seed(written):
    """A reply has at most `max_words` words; greedy ones need no seed, others follow it alone."""
    model = load(written)
    examples = (("the cube", "a red cube"), ("the sphere", "a blue sphere"))
    request = ChatRequest("rephrase", PROMPT, "Say it in other words.", examples, max_words=4)
    assert len(model.chat([request])[0].split(" ")) <= 4
    warm = [ChatRequest("rephrase", PROMPT, temperature=2.0, seed=seed) for seed in (1, 1, 2)]
    replies = model.chat(warm)
    assert replies[0] == replies[1] != replies[2]


def test_what_a_bug_report_needs(written):
    """`probe` tells ids, pieces, shapes and where each configuration came from."""
    messages = load(written).probe()
    assert messages["H"] == [5, 32]
    assert "▁Yes" in messages["yes"]
    assert messages["special tokens"]["<im_patch>"] > messages["special tokens"]["<dream_start>"]
    assert all("companions" in messages["sources"][part] for part in ("clip", "unet", "vae", "schedule"))


@pytest.mark.parametrize(
    ("make", "parameters", "tensors"),
    [
        (lambda: UNet2DConditionModel.from_config(dict(UNET_2_1)), 865_910_724, 686),
        (lambda: AutoencoderKL.from_config(dict(VAE_2_1)), 83_653_863, 248),
        (lambda: CLIPVisionModel(CLIPVisionConfig(**CLIP_L)), 303_179_776, None),
        (lambda: LlamaForCausalLM(LlamaConfig(
            vocab_size=32008, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32,
            num_attention_heads=32, tie_word_embeddings=False,
        )), 6_738_481_152, None),
    ],
)  # fmt: skip
def test_the_known_configurations_are_those_of_the_real_model(make, parameters, tensors):
    """Parameters and tensors of the networks, built without memory, are those of the public models."""
    network = empty_network(make)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert tensors is None or len(network.state_dict()) == tensors
