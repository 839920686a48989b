"""BLIP's VQA weights, from the original .pth or from the HF conversion, as the three parts that answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from silmm.errors import DataError
from silmm_benchmarks.judges.loading import Placement, broken_weights, load_pretrained
from silmm_benchmarks.judges.weight_files import weight_files

SIZE = 480
"""Side of the image in pixels (docs/spec/benchmarks.md 1.4)."""
_HEAD = 64
"""Width of an attention head in all of BLIP's published sizes; it cannot be read off the weights."""
_NAMES = (
    (r"^visual_encoder\.cls_token$", "vision.embeddings.class_embedding"),
    (r"^visual_encoder\.pos_embed$", "vision.embeddings.position_embedding"),
    (r"^visual_encoder\.patch_embed\.proj\.", "vision.embeddings.patch_embedding."),
    (r"^visual_encoder\.blocks\.(\d+)\.norm([12])\.", r"vision.encoder.layers.\1.layer_norm\2."),
    (r"^visual_encoder\.blocks\.(\d+)\.attn\.qkv\.", r"vision.encoder.layers.\1.self_attn.qkv."),
    (r"^visual_encoder\.blocks\.(\d+)\.attn\.proj\.", r"vision.encoder.layers.\1.self_attn.projection."),
    (r"^visual_encoder\.blocks\.(\d+)\.mlp\.", r"vision.encoder.layers.\1.mlp."),
    (r"^visual_encoder\.norm\.", "vision.post_layernorm."),
    (r"^text_encoder\.", "encoder."),
    (r"^text_decoder\.", "decoder."),
)
"""Pattern of an original name -> name in `Parts`."""
PREFIXES = ("visual_encoder.", "text_encoder.", "text_decoder.")
"""What all names of an original file begin with."""


@dataclass(frozen=True)
class Parts:
    """The image's encoder, the question's encoder and the answer's decoder of transformers."""

    vision: Any
    encoder: Any
    decoder: Any
    interpolate: bool
    """Whether the position embedding is of another grid and is interpolated to that of 480 pixels."""
    source: str
    """For the identity: which layout, and what became of the position embedding."""


def load_parts(path: Path, placement: Placement, vision_heads: int | None = None) -> Parts:
    """Load the original file, or a folder of either layout.

    Args:
        place: `model_base_vqa_capfilt_large.pth`, a folder with one .pth, or a folder of the HF conversion.
        placement: device and precision.
        vision_heads: attention heads of the ViT in an original file; None: one for 64 of its width.

    Raises:
        DataError: the weights are missing, broken or of another model.
    """
    if path.is_dir() and (path / "config.json").is_file():
        return _converted(path, placement)
    files = weight_files(path)
    if len(files) > 1:
        raise DataError(f"{path} holds {len(files)} files of weights; name the one with BLIP's VQA weights.")
    return _original(files[0], placement, vision_heads)


def _converted(folder: Path, placement: Placement) -> Parts:
    from transformers import BlipForQuestionAnswering

    model = load_pretrained(BlipForQuestionAnswering, folder, placement)
    grid = SIZE // model.config.vision_config.patch_size
    cells = model.vision_model.embeddings.position_embedding.shape[1] - 1
    same = cells == grid * grid
    side = round(cells**0.5)
    source = "HF conversion, " + (
        f"{grid}x{grid} positions" if same
        else f"{side}x{side} positions interpolated to {grid}x{grid}: not the official numbers"
    )
    return Parts(model.vision_model, model.text_encoder, model.text_decoder, not same, source)


def _original(path: Path, placement: Placement, vision_heads: int | None) -> Parts:
    import torch
    from transformers import (
        BlipTextConfig,
        BlipTextLMHeadModel,
        BlipTextModel,
        BlipVisionConfig,
        BlipVisionModel,
    )

    _, table = read_original(path)
    with broken_weights(path):
        weights = _renamed(table, path)
        vision, text = _sizes(weights, path, vision_heads)
        width = weights["vision.embeddings.class_embedding"].shape[-1]
        # The decoder reads question states, the encoder image states; their widths are equal in BLIP base.
        parts = torch.nn.ModuleDict({
            "vision": BlipVisionModel(BlipVisionConfig(**vision)),
            "encoder": BlipTextModel(
                BlipTextConfig(encoder_hidden_size=width, **text), add_pooling_layer=False
            ),
            "decoder": BlipTextLMHeadModel(BlipTextConfig(encoder_hidden_size=text["hidden_size"], **text)),
        })
        parts.load_state_dict(weights, strict=True)
    parts.to(placement.device, placement.dtype).eval()
    grid = vision["image_size"] // vision["patch_size"]
    source = f"original layout, {grid}x{grid} positions untouched"
    return Parts(parts["vision"], parts["encoder"], parts["decoder"], False, source)


def read_original(path: Path) -> tuple[Any, Mapping[str, Any]]:
    """Return all that an original file holds, and its table of tensors, wrapped in `model` or bare.

    Raises:
        DataError: it is broken, or holds more than tensors and plain values.
    """
    from silmm.checkpoint.weight_files import tensor_table, unpickle

    loaded = unpickle(path)
    return loaded, tensor_table(path, loaded, ["model"])


def _renamed(state: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Map the original names to those of the parts; the stored position counts are left out."""
    weights = {}
    for name, value in state.items():
        if name.endswith("position_ids"):
            continue
        for pattern, replacement in _NAMES:
            renamed, hits = re.subn(pattern, replacement, name)
            if hits:
                weights[renamed] = value
                break
        else:
            raise DataError(f"{path} holds {name!r}, no weight of BLIP's VQA model; name the right file.")
    return weights


def _sizes(
    weights: Mapping[str, Any], path: Path, heads: int | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the sizes off the weights, and off the original's `med_config.json` where it is near."""
    patch = weights["vision.embeddings.patch_embedding.weight"]
    width, side = patch.shape[0], patch.shape[-1]
    cells = weights["vision.embeddings.position_embedding"].shape[1] - 1
    if cells != (SIZE // side) ** 2:
        raise DataError(
            f"{path} has {cells} positions, and BLIP-VQA at {SIZE} pixels has {(SIZE // side) ** 2}; it is "
            "another BLIP model. Name the file of its home."
        )
    vision = {
        "hidden_size": width, "num_attention_heads": heads or max(1, width // _HEAD),
        "intermediate_size": weights["vision.encoder.layers.0.mlp.fc1.weight"].shape[0],
        "num_hidden_layers": _layers(weights, "vision.encoder.layers."),
        "image_size": SIZE, "patch_size": side, "layer_norm_eps": 1e-6,
    }
    vocabulary, hidden = weights["encoder.embeddings.word_embeddings.weight"].shape
    text = {
        "vocab_size": vocabulary, "hidden_size": hidden,
        "num_hidden_layers": _layers(weights, "encoder.encoder.layer."),
        "intermediate_size": weights["encoder.encoder.layer.0.intermediate.dense.weight"].shape[0],
        "max_position_embeddings": weights["encoder.embeddings.position_embeddings.weight"].shape[0],
        "num_attention_heads": max(1, hidden // _HEAD), "layer_norm_eps": 1e-12, "projection_dim": hidden,
    }
    for config in (path.parent / "med_config.json", path.parent / "configs" / "med_config.json"):
        if config.is_file():
            stated = json.loads(config.read_text(encoding="utf-8"))
            text |= {key: stated[key] for key in ("num_attention_heads", "layer_norm_eps") if key in stated}
            break
    return vision, text


def _layers(weights: Mapping[str, Any], prefix: str) -> int:
    return 1 + max(int(name[len(prefix):].split(".")[0]) for name in weights if name.startswith(prefix))
