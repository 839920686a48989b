"""Promises of networks that take weights: every name and shape agrees, or the first that does not is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from silmm.checkpoint.networks import empty_network, fill, load_pretrained, refuse_unknown
from silmm.errors import DataError

SOURCE = Path("weights.bin")


def network() -> nn.Module:
    """Return a network with parameters and a buffer of integers."""
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def test_an_empty_network_is_filled() -> None:
    """Floats are converted, integers are not; the network is frozen, in eval mode, and names what it left out."""
    weights = network().state_dict()
    filled = empty_network(network)
    assert next(filled.parameters()).is_meta
    assert fill(filled, {**weights, "more": torch.zeros(1)}, SOURCE, dtype=torch.bfloat16) == ["more"]
    assert all(torch.equal(tensor, weights[name].to(tensor.dtype)) for name, tensor in filled.state_dict().items())
    assert filled[0].weight.dtype is torch.bfloat16
    assert filled[1].num_batches_tracked.dtype is torch.int64
    assert not filled.training
    assert not any(parameter.requires_grad for parameter in filled.parameters())


def test_what_does_not_fit_is_named() -> None:
    """A missing name, unless it is optional, and a shape of another size are refused with the file and the remedy."""
    weights = network().state_dict()
    bias = weights.pop("0.bias")
    with pytest.raises(DataError, match=r"weights\.bin lacks 1 weights of Sequential, the first is '0\.bias'; ask"):
        fill(network(), weights, SOURCE, remedy="ask")
    assert fill(network(), weights, SOURCE, optional=["0.bias"]) == []
    with pytest.raises(DataError, match=r"weights\.bin: '0\.bias' has the shape \(1,\), not \(3,\); ask"):
        fill(network(), {**weights, "0.bias": bias[:1]}, SOURCE, remedy="ask")
    with pytest.raises(DataError, match=r"weights\.bin has 2 weights unknown to Llama, the first is 'a'"):
        refuse_unknown(SOURCE, "Llama", ["b", "a"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a small Llama."""
    config = LlamaConfig(
        vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    return tmp_path


def edit(folder: Path, **changes: Any) -> None:
    """Change keys of config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_pretrained_model_is_ready(folder: Path) -> None:
    """It has the file's weights in the format asked for, is frozen and in eval mode."""
    model = load_pretrained(LlamaForCausalLM, folder, torch.bfloat16)
    stored = load_file(folder / "model.safetensors")
    assert torch.equal(model.lm_head.weight, stored["lm_head.weight"].bfloat16())
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_pretrained_model_has_no_random_weight(folder: Path) -> None:
    """Weights that are missing or of another size are refused; unknown ones where the names must be exact."""
    edit(folder, num_hidden_layers=2)
    with pytest.raises(DataError, match=r"lacks 9 weights of LlamaForCausalLM, the first is 'model\.layers\.1"):
        load_pretrained(LlamaForCausalLM, folder, torch.float32)
    load_pretrained(LlamaForCausalLM, folder, torch.float32, unused="model.layers.1.")
    edit(folder, num_hidden_layers=1, intermediate_size=6)
    with pytest.raises(DataError, match=r"3 weights have other shapes than config\.json says.*mlp.*8.*6"):
        load_pretrained(LlamaForCausalLM, folder, torch.float32)
    edit(folder, intermediate_size=8)
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {"model.more": torch.zeros(1)}, folder / "model.safetensors", {"format": "pt"})
    load_pretrained(LlamaForCausalLM, folder, torch.float32)
    with pytest.raises(DataError, match=r"1 weights unknown to LlamaForCausalLM, the first is 'model\.more'"):
        load_pretrained(LlamaForCausalLM, folder, torch.float32, exact=True)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_damaged_file_of_a_pretrained_model_is_named(folder: Path, name: str) -> None:
    """The file that is cut short stands in the message, and not only the folder."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    path = folder / name
    save_file(weights, path, {"format": "pt"}) if path.suffix == ".safetensors" else torch.save(weights, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=f"{name} cannot be read as weights"):
        load_pretrained(LlamaForCausalLM, folder, torch.float32)
