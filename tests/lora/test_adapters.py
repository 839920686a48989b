"""Adapters are attached, replaced and removed, and are plain PEFT folders with stable bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from silmm.errors import DataError, UsageError
from silmm.lora.adapters import detach, new_adapter, save_adapter, trainable_parameters
from silmm.lora.loading import load_adapter
from tests.toy.tiny_random import TinyRandom, random_backbone

IDS = torch.tensor([[2, 5, 7, 1, 12, 13]])


def logits(backbone: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return backbone(IDS).logits


def tuned(seed: int = 0) -> TinyRandom:
    model = TinyRandom()
    new_adapter(model, rank=4, alpha=8, seed=seed)
    with torch.no_grad():
        for parameter in trainable_parameters(model).values():
            parameter.add_(torch.arange(parameter.numel()).reshape(parameter.shape) * 1e-3)
    return model


def test_a_fresh_adapter_leaves_the_base_as_it_is() -> None:
    """A fresh adapter (B = 0) changes no logit, and neither does its removal."""
    model = TinyRandom()
    before = logits(model.backbone)
    backbone = model.backbone
    new_adapter(model, rank=4, alpha=8, seed=1)
    assert torch.equal(logits(model.backbone), before)
    detach(model)
    assert model.backbone is backbone
    assert torch.equal(logits(model.backbone), before)
    assert not any("lora" in name for name, _ in model.backbone.named_modules())


def test_a_fresh_adapter_is_a_function_of_its_seed_alone() -> None:
    """A fresh adapter depends on its seed only and leaves the global generator unchanged."""
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    fresh = []
    for seed in (1, 1, 2):
        model = TinyRandom()
        new_adapter(model, rank=4, alpha=8, seed=seed)
        fresh.append(next(iter(trainable_parameters(model).values())).detach().clone())
    assert torch.equal(fresh[0], fresh[1])
    assert not torch.equal(fresh[0], fresh[2])
    assert torch.equal(torch.rand(1), expected)


# peft reads an attribute that transformers has renamed
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_plain_peft_loads_the_folder_on_a_fresh_backbone(tmp_path: Path) -> None:
    """A written folder gives the same logits under peft itself."""
    model = tuned()
    save_adapter(model, tmp_path / "adapter")
    plain = PeftModel.from_pretrained(random_backbone(), str(tmp_path / "adapter")).eval()
    assert torch.equal(logits(plain), logits(model.backbone))
    assert not torch.equal(logits(plain), logits(random_backbone()))


def test_load_replace_and_take_off(tmp_path: Path) -> None:
    """Loading replaces the earlier adapter, and None restores the base bit for bit."""
    model = TinyRandom()
    base = logits(model.backbone)
    save_adapter(tuned(0), tmp_path / "one")
    save_adapter(tuned(9), tmp_path / "two")
    load_adapter(model, tmp_path / "one")
    first = logits(model.backbone)
    load_adapter(model, tmp_path / "two")
    assert not torch.equal(logits(model.backbone), first)
    load_adapter(model, tmp_path / "one")
    assert torch.equal(logits(model.backbone), first)
    load_adapter(model, None)
    assert torch.equal(logits(model.backbone), base)


def test_a_loaded_adapter_is_written_back_to_the_same_bytes(tmp_path: Path) -> None:
    """An adapter that is loaded and saved again has the same bytes, with no path in them."""
    save_adapter(tuned(), tmp_path / "one")
    model = TinyRandom()
    load_adapter(model, tmp_path / "one")
    save_adapter(model, tmp_path / "two")
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["adapter_config.json", "adapter_model.safetensors"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    config = json.loads((tmp_path / "one" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (4, 8, 0.0)
    assert config["base_model_name_or_path"] is None
    assert str(tmp_path) not in (tmp_path / "one" / "adapter_config.json").read_text()


def test_only_lora_weights_are_trainable_and_only_on_demand(tmp_path: Path) -> None:
    """After loading nothing requires gradients; the trainable weights are LoRA's alone."""
    save_adapter(tuned(), tmp_path / "one")
    model = TinyRandom()
    load_adapter(model, tmp_path / "one")
    assert not any(p.requires_grad for p in model.backbone.parameters())
    names = set(trainable_parameters(model))
    on = {name for name, p in model.backbone.named_parameters() if p.requires_grad}
    assert on == names
    assert len(names) == 2 * 7 * 2
    assert all("lora_" in name for name in names)


def test_lora_weights_of_a_bfloat16_backbone_are_float32(tmp_path: Path) -> None:
    """A fresh adapter, its file and what is loaded from it keep their 32 bits."""
    model = TinyRandom()
    model.backbone.to(torch.bfloat16)
    new_adapter(model, rank=2, alpha=2, seed=0)
    weights = trainable_parameters(model)
    with torch.no_grad():
        for weight in weights.values():
            weight.add_(1e-5)
    kept = {name: weight.detach().clone() for name, weight in weights.items()}
    save_adapter(model, tmp_path / "adapter")
    load_adapter(model, tmp_path / "adapter")
    loaded = trainable_parameters(model)
    assert {weight.dtype for weight in loaded.values()} == {torch.float32}
    assert all(torch.equal(loaded[name], weight) for name, weight in kept.items())
    detach(model)
    assert {parameter.dtype for parameter in model.backbone.parameters()} == {torch.bfloat16}


def test_a_folder_that_is_no_adapter_is_refused(tmp_path: Path) -> None:
    """A missing file or damaged weights are a DataError, and the model stays as it was."""
    model = tuned()
    before = logits(model.backbone)
    with pytest.raises(DataError, match="not a PEFT adapter folder"):
        load_adapter(model, tmp_path)
    save_adapter(model, tmp_path / "bad")
    (tmp_path / "bad" / "adapter_model.safetensors").write_bytes(b"x" * 20)
    with pytest.raises(DataError, match="cannot be read"):
        load_adapter(model, tmp_path / "bad")
    assert torch.equal(logits(model.backbone), before)


def test_an_adapter_of_another_backbone_is_refused(tmp_path: Path) -> None:
    """Weights that do not cover the targets are a DataError, not a half-loaded adapter."""
    small = TinyRandom()
    small.lora_targets = r"model\.layers\.0\.self_attn\.q_proj"
    new_adapter(small, rank=4, alpha=8, seed=0)
    save_adapter(small, tmp_path / "small")
    config = tmp_path / "small" / "adapter_config.json"
    values = json.loads(config.read_text())
    values["target_modules"] = TinyRandom().lora_targets
    config.write_text(json.dumps(values))
    with pytest.raises(DataError, match="do not fit"):
        load_adapter(TinyRandom(), tmp_path / "small")


def test_targets_that_match_nothing_are_refused() -> None:
    """A regular expression without a match is an error, not an adapter without weights."""
    model = TinyRandom()
    model.lora_targets = r"nothing\.here"
    with pytest.raises(UsageError, match="does not fit"):
        new_adapter(model, rank=4, alpha=8, seed=0)


def test_there_must_be_an_adapter_to_write(tmp_path: Path) -> None:
    """Writing the adapter of a bare base is an error and leaves no folder."""
    with pytest.raises(DataError, match="has none"):
        save_adapter(TinyRandom(), tmp_path / "none")
    assert not (tmp_path / "none").exists()
