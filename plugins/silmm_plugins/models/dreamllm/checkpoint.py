"""Reading a DreamLLM folder: its JSON, its shards one by one, its three plugin files, with exact complaints.

Nothing here trusts the folder: file names out of an index stay inside it, pickles are read with
`weights_only=True`, and the `_target_` import paths of config.json are never looked at
(docs/spec/base-models.md 1.2).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from accelerate import init_empty_weights
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from silmm.errors import DataError, UsageError
from silmm_plugins.models._shared.checkpoint_folder import checkpoint_folder
from silmm_plugins.models._shared.pickled_weights import read_pickled

Weights: TypeAlias = dict[str, Tensor]

DREAM, VISION, DIFFUSION = "dream_embedding", "clip_vision_embedding", "stable_diffusion_head"
"""The plugins of the original, each with a file `NAME.bin` and an entry in `plugins_init_kwargs`."""
FILES = ["*.json", "*.safetensors", "*.bin", "tokenizer.model"]
"""What a download from the hub takes."""


def locate(path: str, revision: str | None) -> Path:
    """Return the folder of a checkpoint; a hub id is fetched, at its revision.

    Raises:
        UsageError: no path is given.
        DataError: there is no such folder or hub id.
    """
    if not path:
        raise UsageError(
            "dreamllm needs its checkpoint: give --model dreamllm:DIR or --set model.path=DIR, or a hub id"
        )
    return checkpoint_folder(path, FILES, revision=revision)


def read_json(path: Path, expected: str) -> dict[str, Any]:
    """Return a JSON object; `expected` says in an error what the file should have been.

    Raises:
        DataError: the file is missing or no JSON object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); expected {expected}") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); expected {expected}; copy it again") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} holds no JSON object; expected {expected}; copy it again")
    return found


def read_config(folder: Path) -> dict[str, Any]:
    """Return config.json of a DreamLLM checkpoint.

    Raises:
        DataError: it is missing, or of another kind of model.
    """
    config = read_json(folder / "config.json", "the configuration of a DreamLLM checkpoint")
    kind = config.get("model_type")
    if kind != "dreamllm":
        raise DataError(
            f"{folder / 'config.json'}: model_type is {kind!r}, expected 'dreamllm'; take the folder of a "
            "DreamLLM checkpoint or the model that this one is of (`silmm plugins`)"
        )
    for key in ("special_tokens2ids_dict", "plugins_init_kwargs"):
        if not isinstance(config.get(key), dict):
            raise DataError(f"{folder / 'config.json'}: {key} is missing; copy the file again")
    return config


def plugin(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the constructor arguments of a plugin, or an empty table."""
    found = config["plugins_init_kwargs"].get(name)
    return found if isinstance(found, dict) else {}


def read_pickle(path: Path) -> Weights:
    """Return the tensors of a .bin file by name.

    Raises:
        DataError: the file is missing, damaged, or holds anything but tensors.
    """
    if not path.is_file():
        raise DataError(
            f"{path} is missing; a DreamLLM checkpoint has {DREAM}.bin, {VISION}.bin and {DIFFUSION}.bin"
        )
    return read_pickled(path)


def main_shards(folder: Path) -> Iterator[tuple[Path, Weights]]:
    """Yield the files of the language model with their tensors, one at a time.

    Raises:
        DataError: there are none, one is missing or cannot be read, or the index names a strange file.
    """
    for path in _main_files(folder):
        if path.suffix == ".bin":
            yield path, read_pickle(path)
            continue
        try:
            yield path, load_file(path)
        except (OSError, SafetensorError) as error:
            raise DataError(f"{path} is damaged or cut short ({error}); copy it again") from error


def _main_files(folder: Path) -> list[Path]:
    for name in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{name}.index.json"
        if index.is_file():
            return _indexed(folder, index)
        if (folder / name).is_file():
            return [folder / name]
    raise DataError(
        f"{folder} holds no weights of a language model: expected model.safetensors or pytorch_model.bin, or "
        "shards with their .index.json"
    )


def _indexed(folder: Path, index: Path) -> list[Path]:
    weight_map = read_json(index, "the index of the language model's shards").get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise DataError(f"{index} has no weight_map; copy it again")
    names = sorted(set(map(str, weight_map.values())))
    for name in names:
        if Path(name).name != name or not name.endswith((".safetensors", ".bin")):
            raise DataError(f"{index} names the file {name!r}; expected file names of this folder alone")
        if not (folder / name).is_file():
            raise DataError(
                f"{folder / name} is missing; {index.name} lists {len(names)} files; copy it again"
            )
    return [folder / name for name in names]


def build(make: Callable[[], nn.Module]) -> nn.Module:
    """Return a network whose parameters take no memory yet; its buffers are real."""
    with init_empty_weights(include_buffers=False):
        return make()


def fill(network: nn.Module, weights: Weights, source: Path, dtype: torch.dtype, hint: str = "") -> set[str]:
    """Put weights into a network that :func:`build` made and return the names that it has no place for.

    Args:
        network: the network.
        weights: by the network's own names; a part of them is fine, see :func:`complete`.
        source: the file, for messages.
        dtype: what they are converted to.
        hint: what an error proposes where shapes do not fit.

    Raises:
        DataError: a shape does not fit.
    """
    wanted = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    for name, tensor in weights.items():
        if name in wanted and tensor.shape != wanted[name].shape:
            raise DataError(
                f"{source}: {name} has the shape {tuple(tensor.shape)}, expected "
                f"{tuple(wanted[name].shape)}; {hint or 'config.json does not belong to these weights'}"
            )
    fitting = {name: tensor.to(dtype) for name, tensor in weights.items() if name in wanted}
    network.load_state_dict(fitting, strict=False, assign=True)
    return set(weights) - set(fitting)


def complete(network: nn.Module, source: Path, unexpected: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    """Check that every parameter has its weights and that none was left over.

    Raises:
        DataError: as said, with the first name.
    """
    missing = [name for name, parameter in network.named_parameters() if parameter.is_meta]
    if missing:
        raise DataError(
            f"{source}: {len(missing)} weights are missing, the first is {missing[0]}; copy it again, and "
            "config.json with it"
        )
    if unexpected:
        raise DataError(
            f"{source}: {len(unexpected)} weights have no place in the network, the first is "
            f"{sorted(unexpected)[0]}; config.json or model.companions describe another model"
        )
