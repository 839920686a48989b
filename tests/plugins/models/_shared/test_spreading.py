"""Promises of spreading: the same numbers over several devices, whole layers, and no surprises."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from silmm_plugins.models._shared.spreading import Spread, check_devices
from transformers import LlamaConfig, LlamaForCausalLM

from silmm.checkpoint.devices import device_of
from silmm.contracts.models import BaseModel, SamplingParams
from silmm.errors import UsageError
from silmm.lora.adapters import new_adapter, save_adapter
from silmm.lora.loading import load_adapter
from silmm.testing.cases import trained_value
from silmm.testing.training import tuned_adapter
from tests.plugins.models.every_model import ADAPTERS, EMBEDDED, PROMPTS, QUESTIONS, EveryModel

CPU, META = torch.device("cpu"), torch.device("meta")


def llama(layers: int = 4, vocabulary: int = 8) -> Any:
    """Return a small Llama whose layers are most of it."""
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=16, intermediate_size=32, num_hidden_layers=layers,
        num_attention_heads=2,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def outputs(model: BaseModel) -> list[Any]:
    """Return what a model samples, decodes and answers."""
    latents = model.represent(PROMPTS, [0, 1], SamplingParams())
    images = model.decode(latents, [5, 6])
    return [*latents, *images, *model.yes_no(images, QUESTIONS)]


def gradients(model: BaseModel, latents: list[Any]) -> list[torch.Tensor]:
    """Return the gradients of the LoRA weights."""
    with tuned_adapter(model) as adapter:
        value = trained_value(model, PROMPTS, latents).square().mean()
        return [value.detach(), *torch.autograd.grad(value, list(adapter.values()))]


@pytest.mark.parametrize("name", ADAPTERS)
def test_spread_over_two_of_the_same(every_model: EveryModel, name: str, tmp_path: Path) -> None:
    """With the hooks of two devices, numbers, gradients and adapters are those of one."""
    first, second = every_model.load(name), every_model.load(name, device="cpu,cpu")
    hooks = [m for m in second.backbone.modules() if m._forward_pre_hooks]
    assert len(hooks) >= 3  # two layers at least, and the norm
    for a, b in zip(outputs(first), outputs(second), strict=True):
        assert np.array_equal(a, b)
    latents = first.represent(PROMPTS, [0, 1], SamplingParams())
    for a, b in zip(gradients(first, latents), gradients(second, latents), strict=True):
        assert torch.equal(a, b)
    new_adapter(second, rank=2, alpha=2, seed=3)
    save_adapter(second, tmp_path / "adapter")
    load_adapter(first, tmp_path / "adapter")


@pytest.mark.slow
def test_tensors_of_two_devices_never_meet(
    goldens: Path, silmm_process: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """On two pretended devices, which may not meet, every model gives what it gives on one CPU.

    A pixel may move by one of its 256 levels, where rounding decides between two.
    """
    pretended = ["-m", "tests.plugins.models._shared.pretended_devices"]
    done = silmm_process("-W", "ignore", *pretended, str(goldens), *ADAPTERS)
    assert done.returncode == 0, done.stderr[-2000:]
    *actual, met = done.stdout.splitlines()
    assert [line.split()[0] for line in actual] == list(ADAPTERS)
    for line in actual:
        _, far, levels, words, devices = line.split()
        assert float(far) < 1e-4, line
        assert float(levels) <= 1, line
        assert (words, devices) == ("True", "pretended:0,pretended:1"), line
    assert re.search("meets tensors of pretended:0, pretended:1", met)  # without the hooks


def test_layers_are_shared_out_whole_and_the_rest_stays() -> None:
    """Each device gets about as many bytes, in order; embeddings, norm and head are on the first."""
    backbone = llama(layers=4)
    Spread(backbone, backbone.model, [CPU, META]).to(CPU)
    layers = [{p.device.type for p in layer.parameters()} for layer in backbone.model.layers]
    assert layers == [{"cpu"}, {"cpu"}, {"meta"}, {"meta"}]
    rest = [p for name, p in backbone.named_parameters() if ".layers." not in name]
    assert {p.device.type for p in rest} == {"cpu"}
    assert {b.device.type for b in backbone.buffers()} == {"cpu"}
    assert device_of(backbone) == CPU


def test_large_embeddings_leave_their_device_fewer_layers() -> None:
    """What is no layer counts for the first device."""
    backbone = llama(layers=4, vocabulary=700)  # embeddings and head weigh as much as nine layers
    Spread(backbone, backbone.model, [CPU, META]).to(CPU)
    assert {p.device.type for layer in backbone.model.layers for p in layer.parameters()} == {"meta"}


def test_states_go_where_the_layers_are() -> None:
    """Hidden states, masks and rotary angles reach a layer on its device; what it caches stays there."""
    from transformers import DynamicCache

    backbone = llama(layers=4)
    Spread(backbone, backbone.model, [CPU, META]).to(CPU)
    calls: list[set[str]] = []

    def note(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        rotary = kwargs.get("position_embeddings") or ()
        tensors = [*args, kwargs.get("attention_mask"), kwargs.get("position_ids"), *rotary]
        calls.append({t.device.type for t in tensors if isinstance(t, torch.Tensor)})

    for layer in backbone.model.layers:
        layer.register_forward_pre_hook(note, with_kwargs=True)
    cache: Any = DynamicCache(config=backbone.config)
    with torch.no_grad(), pytest.raises(NotImplementedError, match="meta"):  # nothing comes back from there
        backbone.model(input_ids=torch.tensor([[1, 2, 3]]), past_key_values=cache, use_cache=True)
    assert calls == [{"cpu"}, {"cpu"}, {"meta"}, {"meta"}]
    assert [layer.keys.device.type for layer in cache.layers] == ["cpu", "cpu", "meta", "meta"]


def test_a_spread_model_goes_home_and_back() -> None:
    """Sent to main memory and to its devices again, it is where it was and gives what it gave."""
    backbone, ids = llama(), torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        expected = backbone(ids).logits
        spread = Spread(backbone, backbone.model, [CPU, CPU])
        for _ in range(2):
            spread.to(CPU)
            assert torch.equal(backbone(ids).logits, expected)


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_embedded_models_have_one_device(every_model: EveryModel, name: str) -> None:
    """They are small; a list of devices is refused as any unknown device."""
    with pytest.raises(UsageError, match="cannot use the device 'cpu,cpu'"):
        every_model.load(name, device="cpu,cpu")


def test_lists_of_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """auto is the CPU without a GPU; mixed types, and several in each of several processes, are refused."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert check_devices("it", "auto") == (CPU,)
    assert check_devices("it", "cpu, cpu") == (CPU, CPU)
    with pytest.raises(UsageError, match=r"it: model\.device=cpu,meta mixes cpu and meta"):
        check_devices("it", "cpu,meta")
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert check_devices("it", "cpu") == (CPU,)
    with pytest.raises(UsageError, match="spreads the model, but 2 processes"):
        check_devices("it", "cpu,cpu")


def test_auto_is_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name that is tried is then cuda, the device of this process."""
    tried: list[object] = []
    empty: Callable[..., torch.Tensor] = torch.empty
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", lambda *a, device: (tried.append(device), empty(*a))[1])
    check_devices("it", "auto")
    assert tried == ["cuda"]
