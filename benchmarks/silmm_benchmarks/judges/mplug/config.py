"""Sizes and decoding rule of an mPLUG folder, read from its config.yaml and config_bert.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from silmm.errors import DataError

CONFIG_FILE = "config.yaml"
TASK: Literal["visual-question-answering"] = "visual-question-answering"


class _Part(BaseModel):
    # The files hold training settings too, which inference does not read.
    model_config = ConfigDict(frozen=True, extra="ignore")


class BertSizes(_Part):
    """What config_bert.json says; text encoder, fusion encoder and decoder share its widths."""

    hidden_size: int = Field(ge=1)
    num_attention_heads: int = Field(ge=1)
    intermediate_size: int = Field(ge=1)
    vocab_size: int = Field(ge=1)
    max_position_embeddings: int = Field(ge=1)
    type_vocab_size: int = Field(ge=1)
    encoder_width: int = Field(ge=1)
    """Width of the states that cross-attention reads."""
    text_encoder_layers: int = Field(ge=1)
    num_hidden_layers: int = Field(ge=1)
    fusion_layers: int = Field(ge=1)
    """The last so many of `num_hidden_layers` fuse; the others stay unused in the file."""
    stride_layer: int = Field(default=100, ge=1)
    """Each so-many-th fusing layer, the first excepted, lets image and question attend to each other."""
    text_decode_layers: int = Field(ge=1)
    hidden_act: Literal["gelu"] = "gelu"
    layer_norm_eps: float = Field(default=1e-12, gt=0)

    @property
    def first_fusion_layer(self) -> int:
        """The file's number of the first layer that fuses."""
        return max(0, self.num_hidden_layers - self.fusion_layers)


class MPlugConfig(_Part):
    """What config.yaml says, with its defaults (the large VQA model), and the sizes of the BERT parts."""

    bert: BertSizes
    task: Literal["visual-question-answering"] = TASK
    image_res: int = Field(default=504, ge=1)
    vision_width: int = Field(default=1024, ge=1)
    clip_vision_width: int = Field(default=1024, ge=64)
    clip_vision_layers: int = Field(default=24, ge=1)
    clip_vision_patch_size: int = Field(default=14, ge=1)
    min_length: int = Field(default=1, ge=0)
    max_length: int = Field(default=10, ge=1)
    beam_size: int = Field(default=5, ge=1)

    @property
    def vision_heads(self) -> int:
        """Heads of the image tower: 64 channels each."""
        return self.clip_vision_width // 64

    @property
    def image_tokens(self) -> int:
        """Patches of an image and the class token before them: 36 * 36 + 1 at 504 pixels."""
        return (self.image_res // self.clip_vision_patch_size) ** 2 + 1


def read_config(folder: Path) -> tuple[MPlugConfig, tuple[Path, Path]]:
    """Return the configuration of an official folder, and the two files that it stands in.

    Raises:
        DataError: a file is missing or malformed, or its sizes do not go together.
    """
    path = folder / CONFIG_FILE
    data = _mapping(path, yaml.safe_load)
    name = data.get("bert_config", "config_bert.json")
    if not isinstance(name, str) or Path(name).name != name:
        raise DataError(f"{path}: bert_config {name!r} is not a file name; take the published config.yaml.")
    bert = folder / name
    try:
        config = MPlugConfig.model_validate({**data, "bert": _mapping(bert, json.loads)})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())
        raise DataError(f"{path} and {bert} do not describe mPLUG for {TASK}: {wrong}.") from None
    for problem in _contradictions(config):
        raise DataError(f"{path} and {bert} contradict each other: {problem}.")
    return config, (path, bert)


def _mapping(path: Path, parse: Any) -> Mapping[str, Any]:
    try:
        data = parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise DataError(f"{path} cannot be read ({error}); take the published file again.") from None
    if not isinstance(data, dict):
        raise DataError(f"{path} holds no table of settings; take the published file again.")
    return data


def _contradictions(config: MPlugConfig) -> list[str]:
    bert = config.bert
    checks = {
        f"hidden_size {bert.hidden_size} is no multiple of {bert.num_attention_heads} heads":
            bert.hidden_size % bert.num_attention_heads == 0,
        f"clip_vision_width {config.clip_vision_width} is no multiple of 64":
            config.clip_vision_width % 64 == 0,
        f"vision_width {config.vision_width} is not clip_vision_width {config.clip_vision_width}":
            config.vision_width == config.clip_vision_width,
        f"encoder_width {bert.encoder_width} is not hidden_size {bert.hidden_size}":
            bert.encoder_width == bert.hidden_size,
        f"image_res {config.image_res} is smaller than a patch":
            config.image_res >= config.clip_vision_patch_size,
        f"beam_size {config.beam_size} exceeds the vocabulary of {bert.vocab_size}":
            config.beam_size <= bert.vocab_size,
        f"max_length {config.max_length} exceeds {bert.max_position_embeddings} positions":
            config.max_length <= bert.max_position_embeddings,
    }
    return [problem for problem, holds in checks.items() if not holds]
