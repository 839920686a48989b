"""Reads the official Mask2Former checkpoint strictly: names, shapes, finite numbers (docs/spec/geneval.md 4.7)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from silmm.errors import DataError
from silmm_benchmarks.data.geneval_names import LABELS
from silmm_benchmarks.judges.mask2former.network import Mask2Former, Sizes
from silmm_benchmarks.judges.unidet.checkpoint import unpack

_COMPUTED = re.compile(r"backbone\.stages\.\d+\.blocks\.\d+\.attn\.w_msa\.relative_position_index")
"""Buffers of the file that are computed here."""
_SHOWN = 3


def load_network(path: Path, sizes: Sizes | None = None) -> Mask2Former:
    """Return the network with the weights of a file, in float32.

    Args:
        path: the published .pth of mmdet 2.x (unpickled as tensors and plain values alone), or its table of tensors as
            .safetensors.
        sizes: of the network; without any, the official ones.

    Raises:
        DataError: the file is unreadable, holds other things than tensors and plain values, is of another network or
            other classes, or holds numbers that are not finite.
    """
    with torch.device("meta"):
        network = Mask2Former(sizes)
    content = unpack(path)
    table = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(table, Mapping) or not all(isinstance(value, Tensor) for value in table.values()):
        raise DataError(f"{path} holds no table of tensors by name; is it the published checkpoint?")
    _check_classes(path, content)
    network.load_state_dict(_fitting(path, table, network.state_dict()), assign=True)
    return network.eval().requires_grad_(False)


def _check_classes(path: Path, content: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that names other classes than COCO's."""
    meta = content.get("meta")
    classes = meta.get("CLASSES") if isinstance(meta, Mapping) else None
    if classes is not None and tuple(classes) != LABELS:
        raise DataError(f"{path} was trained on other classes than the 80 of COCO; take the published checkpoint.")


def _fitting(path: Path, table: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    names = [name for name in table if not _COMPUTED.fullmatch(name)]
    misshapen = [name for name in names if name in wanted and table[name].shape != wanted[name].shape]
    problems = [
        f"{len(found)} {what}: {_shown(found)}"
        for what, found in (
            ("missing", [name for name in wanted if name not in table]),
            ("unknown", [name for name in names if name not in wanted]),
            ("of another shape", misshapen),
        )
        if found
    ]
    if problems:
        raise DataError(
            f"{path} is not mmdet 2's Mask2Former with Swin-S: {'; '.join(problems)}. It looks like "
            f"{recognised(names)}. Fetch the right file with `silmm data pull mask2former`."
        )
    state = {name: table[name].to(torch.float32, copy=True) for name in wanted}
    broken = [name for name, value in state.items() if not value.isfinite().all()]
    if broken:
        raise DataError(f"{path} is damaged: numbers that are not finite in {_shown(broken)}. Download it again.")
    return state


def recognised(names: Iterable[str]) -> str:
    """Return what a file seems to be, by its names."""
    listed = list(names)
    if any(name.startswith("model.pixel_level_module.") for name in listed):
        return (
            "a checkpoint of transformers; those on its hub are other trainings, whose numbers cannot be compared with "
            "GenEval's"
        )
    if any(".encoder.layers.0.self_attn." in name for name in listed):
        return "a checkpoint of mmdet 3, which is another file than mmdet 2's"
    if any(name.startswith("panoptic_head.") for name in listed):
        return "a Mask2Former of another size"
    return "another network"


def _shown(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_SHOWN]) + (f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else "")
