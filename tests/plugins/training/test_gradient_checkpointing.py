"""Promises of activation checkpointing: the same gradients for less memory, and no trace afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from silmm_plugins.training.dpo import DpoOptions
from silmm_plugins.training.lora.gradient_checkpointing import recomputable_layers, recomputed
from silmm_plugins.training.mc_dpo import McDpoOptions

from silmm.contracts.models import BaseModel, SamplingParams
from silmm.errors import UsageError
from silmm.testing.cases import trained_value
from silmm.testing.training import tuned_adapter
from tests.plugins.models.every_model import ADAPTERS, EMBEDDED, PROMPTS, EveryModel
from tests.plugins.training.preferences import preferences
from tests.plugins.training.training_run import QUICK, dpo_trainer, train, weights
from tests.toy.tiny_random import TinyRandom


def gradients(model: BaseModel, *, again: bool, autocast: bool = False) -> list[torch.Tensor]:
    """Return the value of the prompts' candidates and its gradients, with recomputation or without."""
    latents = model.represent(PROMPTS, [0, 1], SamplingParams())
    with tuned_adapter(model) as adapter:
        layers = recomputable_layers(model.backbone) if again else ()
        with recomputed(layers), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            value = trained_value(model, PROMPTS, latents).float().square().mean()
        return [value.detach(), *torch.autograd.grad(value, list(adapter.values()))]


def saved_bytes(backbone: torch.nn.Module, run: Callable[[], torch.Tensor]) -> int:
    """Return the bytes that a forward pass remembers, each storage counted once, weights not."""
    weights = {weight.untyped_storage().data_ptr() for weight in backbone.parameters()}
    storages: dict[int, torch.UntypedStorage] = {}

    def remember(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        result = run()
    assert result.requires_grad
    return sum(storage.nbytes() for storage in storages.values())


@pytest.mark.parametrize("name", [*EMBEDDED, *ADAPTERS])
def test_gradients_are_the_same_to_the_last_bit(every_model: EveryModel, name: str) -> None:
    """On every base model value and gradients of all LoRA weights equal those of remembered layers."""
    model = every_model.load(name)
    expected, actual = gradients(model, again=False), gradients(model, again=True)
    assert len(actual) > 8
    assert all(bool(gradient.any()) for gradient in actual)
    assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


@pytest.mark.parametrize("name", ["tiny-discrete", "emu3"])
def test_under_autocast_too(every_model: EveryModel, name: str) -> None:
    """The backward pass, which is outside of autocast, recomputes under the autocast of the forward pass."""
    model = every_model.load(name)
    expected, actual = (gradients(model, again=again, autocast=True) for again in (False, True))
    assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


@pytest.mark.parametrize("name", ["tiny-discrete", "janus", "dreamllm"])
def test_less_is_remembered(every_model: EveryModel, name: str) -> None:
    """What a forward pass remembers for the backward pass shrinks to less than a quarter."""
    model = every_model.load(name)
    latents = model.represent(PROMPTS * 4, range(8), SamplingParams())
    with tuned_adapter(model):
        def value() -> torch.Tensor:
            return trained_value(model, PROMPTS * 4, latents)

        usual = saved_bytes(model.backbone, value)
        with recomputed(recomputable_layers(model.backbone)):
            less = saved_bytes(model.backbone, value)
    assert 0 < less < 0.25 * usual


def test_nothing_is_left_behind(every_model: EveryModel) -> None:
    """Layers run twice inside and once outside; no module is ever in training mode; errors change nothing."""
    model = every_model.load("emu3")
    latents = model.represent(PROMPTS, [0, 1], SamplingParams())
    layers = model.policy.transformer.layers  # type: ignore[attr-defined]
    before = [dict(vars(layer)) for layer in layers]
    runs: list[bool] = []
    hooks = [layer.mlp.register_forward_pre_hook(lambda m, _: runs.append(m.training)) for layer in layers]

    def count(*, again: bool) -> int:
        runs.clear()
        with recomputed(recomputable_layers(model.backbone) if again else ()):
            value = model.log_likelihood(PROMPTS, latents).sum()
        assert not any(module.training for module in model.backbone.modules())
        value.backward()
        return len(runs)

    with tuned_adapter(model):
        assert [count(again=again) for again in (True, False)] == [2 * len(layers), len(layers)]
        with pytest.raises(ZeroDivisionError), recomputed(recomputable_layers(model.backbone)):
            raise ZeroDivisionError
        with recomputed(recomputable_layers(model.backbone)), torch.no_grad():
            model.log_likelihood(PROMPTS, latents)
    assert not any(runs)
    for hook in hooks:
        hook.remove()
    assert [dict(vars(layer)) for layer in layers] == before


def test_a_training_ends_in_the_same_bytes(tmp_path: Path) -> None:
    """With trainer.gradient_checkpointing a training writes the adapter that it writes without, killed or not."""
    options = [DpoOptions(**QUICK, gradient_checkpointing=again) for again in (False, True)]
    for number, option in enumerate(options):
        train(tmp_path / str(number), dpo_trainer(option), TinyRandom(), preferences())
    assert weights(tmp_path / "1") == weights(tmp_path / "0")


def test_a_backbone_without_such_layers_is_refused(tmp_path: Path) -> None:
    """Before anything is computed the error names the class and the option."""

    class Home(torch.nn.Module):
        """A stack of one's own."""

        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.model = torch.nn.Module()
            self.model.layers = torch.nn.ModuleList([torch.nn.ModuleDict({"mlp": torch.nn.Linear(2, 2)})])

    model = TinyRandom()
    model.backbone = Home(model.backbone)
    model.lora_targets = r"model\.layers\.\d+\.mlp"
    trainer = dpo_trainer(DpoOptions(**QUICK, gradient_checkpointing=True))
    with pytest.raises(UsageError, match=r"trainer\.gradient_checkpointing=true: Home has no layers"):
        train(tmp_path, trainer, model, preferences())


def test_mc_dpo_refuses_it() -> None:
    """Its dropout is in the layers during the forward pass alone, so it says what to do instead."""
    with pytest.raises(ValueError, match=r"mc-dpo cannot recompute layers; a larger gradient_accumulation_steps"):
        McDpoOptions(gradient_checkpointing=True)
