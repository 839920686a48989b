"""Reads an official mPLUG folder: what must be in it, where it comes from, and its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from silmm.checkpoint.weight_files import tensor_table, unpickle
from silmm.errors import DataError
from silmm_benchmarks.judges.mplug.config import CONFIG_FILE, MPlugConfig
from silmm_benchmarks.judges.mplug.inputs import VOCABULARY_FILE
from silmm_benchmarks.judges.mplug.model import MPlug

WEIGHTS_FILE = "pytorch_model.bin"
HOME = "https://modelscope.cn/models/iic/mplug_visual-question-answering_coco_large_en"
LICENCE = "Apache-2.0 as far as known; the model card at its home decides"
SIZE = "about 0.6 billion parameters, 2.4 GB in float32 without the training's momentum copies"
FILES = (CONFIG_FILE, "config_bert.json", VOCABULARY_FILE, WEIGHTS_FILE)

WRAPPERS = ("model", "module")
"""Keys under which the table of tensors may be, one inside the other."""

_BIAS, _DECODER_BIAS = "text_decoder.cls.predictions.bias", "text_decoder.cls.predictions.decoder.bias"
"""One vector under two names in the original, of which the second is the one that counts."""
_PARTS = ("visual_encoder.visual.", "visn_", "text_encoder.", "fusion_encoder.", "text_decoder.")
_UNUSED = re.compile(
    r"visn_(fc|layer_norm)_m\."  # copies that training keeps
    r"|visual_encoder\.visual\.proj$"
    r"|fusion_encoder\.encoder\.layer\.\d+\."  # layers before the first that fuses, readers of joining ones
    r"|.*\.(position_ids|pooler\..*)$"
)
"""Names under _PARTS that answering does not need; any other unknown name there is an error.

Names elsewhere (momentum copies, CLIP's text half, training heads) are left alone, as the original does.
"""


def check_files(folder: Path) -> None:
    """Return what is missing, and where it comes from.

    Raises:
        DataError: a file does not exist.
    """
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"the judge mplug needs {', '.join(missing)} in {folder}. Home: {HOME} (all files of that "
            f"model, unchanged). Licence: {LICENCE}. Size: {SIZE}. `silmm data pull mplug` fetches them; "
            "or put them into that folder, or name another one with the judge's option `weights`."
        )


def load_model(folder: Path, config: MPlugConfig, dtype: torch.dtype, device: torch.device) -> MPlug:
    """Return the model with the weights of `folder`, ready to answer.

    Raises:
        DataError: the file is no safe checkpoint, or its names or shapes are not those of `config`.
    """
    path = folder / WEIGHTS_FILE
    with torch.device("meta"):
        model = MPlug(config)
    state = _fitting(path, state_of(path, unpickle(path)), model.state_dict())
    # Copies: the file is only mapped, and may be replaced while a run goes on.
    owned = {name: tensor.to(device=device, dtype=dtype, copy=True) for name, tensor in state.items()}
    model.load_state_dict(owned, assign=True)
    return model.eval().requires_grad_(False)


def state_of(path: Path, data: Any) -> dict[str, Tensor]:
    """Return the tensors by name, out of the wrappers that the original accepts; `path` is for the message.

    Raises:
        DataError: there is no table of tensors.
    """
    return {name.removeprefix("model."): value for name, value in tensor_table(path, data, WRAPPERS).items()}


def differences(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Return what a file lacks, what it has that is unknown, and what has other sizes: names by verb."""
    strange = [name for name in state if name.startswith(_PARTS) and name not in wanted]
    return {
        "lacks": [name for name in wanted if name not in state and not _is_second(name, state)],
        "has unknown": [name for name in strange if not _UNUSED.match(name) and name != _BIAS],
        "has other sizes": [
            f"{name} {tuple(state[name].shape)} for {tuple(tensor.shape)}"
            for name, tensor in wanted.items() if name in state and state[name].shape != tensor.shape
        ],
    }


def _is_second(name: str, state: Mapping[str, Tensor]) -> bool:
    """Return whether a name stands in the file under its other name."""
    return name == _DECODER_BIAS and _BIAS in state


def _fitting(path: Path, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors that the model has, each of the right shape; refuse missing and unknown names."""
    state = dict(state)
    if _BIAS in state:
        state.setdefault(_DECODER_BIAS, state[_BIAS])
    for what, names in differences(state, wanted).items():
        if names:
            shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
            raise DataError(
                f"{path} {what}: {shown}. It does not belong to the config files beside it; take all files "
                f"from {HOME}."
            )
    return {name: state[name] for name in wanted}
