"""Two devices that are none: numbers in main memory, each labelled with a device; labels may not meet.

Run as a script with names of models: it spreads each over both devices, lets it sample, decode, answer, chat and
give what training differentiates, and prints how far all of it is from the same on one CPU. An operation on
tensors of two devices, or of a device and main memory, is an error as on real ones; that is shown last, by
taking the hooks away. A process of its own, since torch knows a registered backend for good.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as tree
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode

NAME = "pretended"
_INDEXING = {torch.ops.aten.index.Tensor, torch.ops.aten.index_put.default, torch.ops.aten.index_put_.default}
"""An index may be in main memory whatever it indexes."""


class _Anything(contextlib.ContextDecorator):
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


def _no_gradients(mode: Any = True) -> Any:
    """Stand for `torch.inference_mode`, whose tensors cannot be labelled."""
    if callable(mode):
        return torch.no_grad()(mode)
    return torch.no_grad() if mode else _Anything()


class Labelled(torch.Tensor):
    """A tensor in main memory that says that it is elsewhere."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor, device: torch.device) -> Labelled:
        """Label a tensor."""
        made: Any = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=device,
        )  # fmt: skip
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run on what is held."""
        return run(func, args, kwargs or {})

    def tolist(self) -> Any:
        """Return the numbers, as any tensor does."""
        return self.held.tolist()


class Pretend(TorchDispatchMode):
    """Lets tensors be made on the pretended devices."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run on what is held."""
        return run(func, args, kwargs or {})


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation in main memory and label its results, if all that it takes is on one device."""
    if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
        with Pretend():
            return func.decompose(*args, **kwargs)
    if func is torch.ops.aten._fused_sdp_choice.default:
        return 0  # plain products: the fused attentions are a device's own
    device = _device(func, args, kwargs)
    arguments = tree.tree_leaves((args, kwargs))
    own = {id(tensor.held): tensor for tensor in arguments if isinstance(tensor, Labelled)}
    inner, named = tree.tree_map(lambda item: item.held if isinstance(item, Labelled) else item, (args, kwargs))
    if named.get("device") is not None:
        named["device"] = torch.device("cpu")
    out = func(*inner, **named)
    if device.type == "cpu":
        return out

    def label(item: Any) -> Any:
        if id(item) in own or not isinstance(item, torch.Tensor):
            return own.get(id(item), item)
        return Labelled(item, device)

    return tree.tree_map(label, out)


def _device(func: Any, args: Any, kwargs: dict[str, Any]) -> torch.device:
    """Return where the result is; what does not meet on one device raises."""
    if kwargs.get("device") is not None:
        return torch.device(kwargs["device"])
    if func is torch.ops.aten.copy_.default:
        target: torch.device = args[0].device
        return target
    leaves = [tensor for tensor in tree.tree_leaves((args, kwargs)) if isinstance(tensor, torch.Tensor)]
    if func in _INDEXING:
        leaves = [tensor for tensor in leaves if isinstance(tensor, Labelled) or tensor is args[0]]
    devices = {tensor.device for tensor in leaves if isinstance(tensor, Labelled) or tensor.dim()}
    if len(devices) > 1:
        raise RuntimeError(f"{func} meets tensors of {', '.join(sorted(map(str, devices)))}")
    return devices.pop() if devices else torch.device("cpu")


class _Two(backend_registration._DummyBackendModule):
    def device_count(self) -> int:
        return 2


def begin() -> list[torch.device]:
    """Make the devices known to torch and return them."""
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Two())
    torch._C._set_only_lift_cpu_tensors(True)
    return [torch.device(NAME, number) for number in range(2)]


def put_on(network: torch.nn.Module, device: torch.device) -> None:
    """Label the weights of a network that have no label yet."""
    for module in network.modules():
        for name, weight in module._parameters.items():
            if weight is not None and not isinstance(weight.data, Labelled):
                module._parameters[name] = torch.nn.Parameter(Labelled(weight.data, device), False)
        for name, buffer in module._buffers.items():
            if buffer is not None and not isinstance(buffer, Labelled):
                module._buffers[name] = Labelled(buffer, device)


def networks(part: Any) -> Iterator[torch.nn.Module]:
    """Yield the networks of a part."""
    if isinstance(part, torch.nn.Module):
        yield part
        return
    for value in vars(part).values():
        if isinstance(value, torch.nn.Module):
            yield value


def spread(model: Any, devices: list[torch.device]) -> list[str]:
    """Label a model as :class:`Spread` would place it, half of its layers each; return where layers are."""
    from silmm_plugins.models._shared.spreading import Spread

    inside = model.backbone.model
    stack = getattr(inside, "language_model", getattr(inside, "text_model", inside))
    Spread(model.backbone, stack, devices)  # its hooks
    for number, layer in enumerate(stack.layers):
        put_on(layer, devices[2 * number // len(stack.layers)])
    put_on(model.backbone, devices[0])
    for part in model.placement.parts.values():
        for item in part.networks:
            for network in networks(item):
                put_on(network, devices[0])
            if hasattr(item, "_empty"):  # unCLIP moves tensors with its networks
                item._empty = Labelled(item._empty, devices[0])
                item._normal = tuple(Labelled(each, devices[0]) for each in item._normal)
    if hasattr(model, "language_model") and hasattr(model.language_model, "queries"):
        model.language_model.queries = Labelled(model.language_model.queries, devices[0])
    return [str(next(layer.parameters()).device) for layer in stack.layers]


def outputs(model: Any, calls: Any = None) -> tuple[list[Any], Any, list[str]]:
    """Return what a model samples, answers and trains on, what it decodes, and what it writes.

    It is asked about `seen`, or about what it decoded.
    """
    from silmm.contracts.models import ChatRequest, SamplingParams
    from silmm.testing.cases import trained_value
    from tests.plugins.models.every_model import PROMPTS, QUESTIONS

    latents = model.represent(PROMPTS, [0, 1], SamplingParams())
    images = model.decode(latents, [5, 6])
    numbers = [*latents, *model.yes_no(images if calls is None else calls, QUESTIONS)]
    requests = [ChatRequest("list", "cats", "Name it.", temperature=1.0, seed=s, max_words=4) for s in (0, 1)]
    with torch.no_grad():
        numbers.append(trained_value(model, PROMPTS, latents).cpu().numpy())
    return numbers, images, model.chat(requests)


def _furthest(some: Any, others: Any) -> float:
    pairs = zip(some, others, strict=True)
    return max(float(np.abs(np.float64(a) - np.float64(b)).max()) for a, b in pairs)


def main(goldens: str, *names: str) -> None:
    """Compare models on one CPU and on the two devices."""
    torch.inference_mode = _no_gradients  # type: ignore[assignment,misc]  # before the plugins are imported
    from tests.plugins.models.every_model import EveryModel

    with tempfile.TemporaryDirectory() as folder:
        every = EveryModel.find(Path(goldens), Path(folder))
        models = {name: every.load(name) for name in names}
        expected = {name: outputs(model) for name, model in models.items()}
        devices = begin()
        for name, model in models.items():
            paths = spread(model, devices)
            labels, decoded, written = expected[name]
            with Pretend():
                numbers, images, words = outputs(model, decoded)
            messages = (_furthest(numbers, labels), _furthest(images, decoded), words == written)
            print(name, *messages, ",".join(sorted(set(paths))), flush=True)
        for module in model.backbone.modules():
            module._forward_pre_hooks.clear()
        try:
            with Pretend():
                outputs(model)
        except RuntimeError as error:
            print(error)


if __name__ == "__main__":
    main(*sys.argv[1:])
