"""LoRA adapters on a base model's backbone, read and written as plain PEFT folders."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, PeftConfig, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file, save

from silmm.errors import DataError, UsageError
from silmm.storage.atomic_files import atomic_folder

if TYPE_CHECKING:
    from silmm.contracts.models import BaseModel

_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
"""What peft puts before every weight name in a file; the backbone itself does not know it."""
_NAME = "default"
_MACHINE_KEYS = ("base_model_name_or_path", "revision")
"""Configuration that tells of the machine, not of the adapter."""

_BEFORE_LAYER = r"(?:(?!\d+\.)[^.]+\.)*"
"""What precedes a decoder layer's number in the path of a module: names that are no numbers."""


def load_peft_adapter(model: BaseModel, folder: Path | None) -> None:
    """Put the PEFT adapter of `folder` on the backbone, replacing any; None leaves none.

    The adapter is injected into the backbone's own modules, so that `model.backbone` stays the same
    object. Its weights do not require gradients (see :func:`trainable_parameters`).

    Raises:
        DataError: the folder is no PEFT adapter of this backbone.
    """
    if folder is None:
        detach(model)
        return
    folder = Path(folder)
    config, weights = _read(folder)
    detach(model)
    _inject(model, config, f"adapter {folder}")
    result = set_peft_model_state_dict(model.backbone, weights, adapter_name=_NAME)
    missing = [name for name in result.missing_keys if f".{_NAME}." in name]
    if missing or result.unexpected_keys:
        detach(model)
        wrong = (missing or list(result.unexpected_keys))[0]
        raise DataError(
            f"adapter {folder}: its weights do not fit this base model (first at {wrong!r}); "
            "use the base model that it was trained on"
        )
    _settle(model)


def new_adapter(model: BaseModel, *, rank: int, alpha: float, seed: int, layers: str = "all") -> None:
    """Put a fresh LoRA adapter on the backbone: B = 0 (still the base), A from `seed`.

    Dropout is 0, so that policy and reference are evaluated alike.

    Args:
        model: its `lora_targets` name the modules.
        rank: of the update.
        alpha: the update is scaled by alpha / rank.
        seed: of A.
        layers: which decoder layers of these: "all", "last:N", or numbers and ranges from 0 on ("0-3,5").

    Raises:
        UsageError: `model.lora_targets` matches no module of the backbone, or none in one of the layers.
    """
    detach(model)
    targets = model.lora_targets if layers == "all" else _targets_in(model, layers)
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=targets)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _inject(model, config, "new adapter")
    _settle(model)


def _targets_in(model: BaseModel, layers: str) -> str:
    """Return `model.lora_targets` restricted to some layers; a layer's number is the first one in a module's path."""
    pattern = re.compile(model.lora_targets)
    names = [name for name, _ in model.backbone.named_modules() if pattern.fullmatch(name)]
    numbered = sorted({int(match[1]) for name in names if (match := re.match(rf"{_BEFORE_LAYER}(\d+)\.", name))})
    if layers.startswith("last:"):
        count = int(layers.removeprefix("last:"))
        wanted = set(numbered[-count:]) if count <= len(numbered) else {-1}
    else:
        bounds = [[int(end) for end in part.split("-")] for part in layers.split(",")]
        wanted = {number for ends in bounds for number in range(ends[0], ends[-1] + 1)}
    if not wanted or not wanted <= set(numbered):
        raise UsageError(
            f"LoRA in layers {layers!r}: the modules that the model names for LoRA are in the layers "
            f"{', '.join(map(str, numbered)) or 'without a number'}; give layers among these, or all"
        )
    choice = "|".join(map(str, sorted(wanted)))
    return rf"(?={_BEFORE_LAYER}(?:{choice})\.)(?:{model.lora_targets})"


def detach(model: BaseModel) -> None:
    """Take every adapter layer out of the backbone, which is then the base again, bit for bit."""
    for name, module in list(model.backbone.named_modules()):
        if isinstance(module, BaseTunerLayer):
            parent, _, child = name.rpartition(".")
            setattr(model.backbone.get_submodule(parent), child, module.get_base_layer())
    if hasattr(model.backbone, "peft_config"):
        del model.backbone.peft_config


def trainable_parameters(model: BaseModel) -> dict[str, torch.nn.Parameter]:
    """Let gradients reach the adapter's weights and nothing else; return them by name.

    Names are the backbone's own, in its order. Empty when there is no adapter.
    """
    parameters = {}
    for name, parameter in model.backbone.named_parameters():
        parameter.requires_grad_(_is_adapter(name))
        if _is_adapter(name):
            parameters[name] = parameter
    return parameters


def save_adapter(model: BaseModel, folder: Path) -> None:
    """Write the adapter as a plain PEFT folder, whole or not at all; same weights, same bytes.

    `peft.PeftModel.from_pretrained(fresh_backbone, folder)` loads it. The configuration names no
    path of this machine.

    Raises:
        DataError: the backbone has no adapter.
    """
    configs: Mapping[str, LoraConfig] = getattr(model.backbone, "peft_config", {})
    if _NAME not in configs:
        raise DataError(f"no adapter to write to {folder}: the backbone has none; train one first")
    weights = {
        _PREFIX + name.replace(f".{_NAME}.", ".", 1): parameter.detach().cpu().contiguous()
        for name, parameter in model.backbone.named_parameters()
        if _is_adapter(name)
    }
    with atomic_folder(Path(folder)) as staging:
        (staging / _CONFIG).write_text(_config_text(configs[_NAME]), encoding="utf-8")
        (staging / _WEIGHTS).write_bytes(save(weights, metadata={"format": "pt"}))


def _is_adapter(name: str) -> bool:
    return f".lora_A.{_NAME}." in name or f".lora_B.{_NAME}." in name


def _config_text(config: LoraConfig) -> str:
    """Return the configuration as JSON with sorted keys and sorted sets."""
    values: dict[str, Any] = config.to_dict()
    values.update(dict.fromkeys(_MACHINE_KEYS))
    values["inference_mode"] = True
    return json.dumps(values, indent=2, sort_keys=True, default=sorted) + "\n"


def _read(folder: Path) -> tuple[PeftConfig, dict[str, torch.Tensor]]:
    """Return a folder's configuration and its weights under the backbone's own names."""
    for name in (_CONFIG, _WEIGHTS):
        if not (folder / name).is_file():
            raise DataError(f"{folder} is not a PEFT adapter folder: it has no {name}; check the path")
    try:
        config = PeftConfig.from_pretrained(str(folder))
        weights = load_file(folder / _WEIGHTS)
    except Exception as error:  # peft and safetensors raise many kinds for a damaged file
        raise DataError(f"adapter {folder} cannot be read ({error}); copy it again") from error
    return config, {name.removeprefix(_PREFIX): tensor for name, tensor in weights.items()}


def _inject(model: BaseModel, config: PeftConfig, owner: str) -> None:
    try:
        inject_adapter_in_model(config, model.backbone, adapter_name=_NAME)
    except ValueError as error:
        raise UsageError(
            f"{owner}: target_modules {config.target_modules!r} does not fit the backbone ({error})"
        ) from error
    for name, parameter in model.backbone.named_parameters():
        if _is_adapter(name) and parameter.dtype in (torch.bfloat16, torch.float16):
            parameter.data = parameter.data.float()  # small steps would be rounded away in 16 bits


def _settle(model: BaseModel) -> None:
    """Switch dropout and gradients off: what is loaded is for use, not for training."""
    model.backbone.eval()
    for parameter in model.backbone.parameters():
        parameter.requires_grad_(False)
