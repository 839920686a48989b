"""Loads a checkpoint of Janus, of either layout: network, prompts and preprocessing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from silmm.checkpoint.devices import dtype_of
from silmm.checkpoint.folders import checkpoint_folder, read_json
from silmm.checkpoint.networks import empty_network, fill
from silmm.checkpoint.weight_files import read_weights, weight_files
from silmm.errors import DataError
from silmm_plugins.models.janus.image_processor import ImageProcessor
from silmm_plugins.models.janus.original_layout import config_of, renamed
from silmm_plugins.models.janus.prompts import JanusPrompts

if TYPE_CHECKING:
    from transformers import JanusConfig, JanusForConditionalGeneration

_FILES = ("*.json", "*.safetensors", "*.bin", "tokenizer*")
_TRANSFORMERS, _ORIGINAL = "janus", "multi_modality"
"""`model_type` of the two layouts."""


@dataclass(frozen=True)
class Checkpoint:
    """The parts of a checkpoint, ready for use."""

    network: JanusForConditionalGeneration
    prompts: JanusPrompts
    processor: ImageProcessor
    layout: str
    """`model_type` of config.json: "janus" (transformers) or "multi_modality" (original)."""
    unused: tuple[str, ...] = ()
    """Tensors of the files, by their transformers names, that the network does not have."""


def open_checkpoint(path: str, *, dtype: str, revision: str | None) -> Checkpoint:
    """Load a checkpoint into main memory, frozen and in eval mode.

    Args:
        path: a folder, or a hub id ``owner/name``, which is fetched.
        dtype: "float32", "bfloat16", "float16", or "auto" for the files' own.
        revision: of a hub id.

    Raises:
        UsageError: no path is given.
        DataError: there is no such folder or hub id, the folder holds another model, or a file is missing,
            damaged or does not fit.
    """
    folder = checkpoint_folder(
        path, _FILES, owner="janus", expected="the folder of a Janus or Janus-Pro release", revision=revision
    )
    stored = read_json(folder / "config.json", "the configuration of Janus")
    layout = stored.get("model_type")
    if layout not in (_TRANSFORMERS, _ORIGINAL):
        raise DataError(
            f"{folder / 'config.json'} has the model type {layout!r}; janus loads {_TRANSFORMERS!r} "
            f"(transformers layout) and {_ORIGINAL!r} (original layout). Give the folder of a Janus or "
            "Janus-Pro release"
        )
    prompts = JanusPrompts(folder)
    weights = read_weights(weight_files(folder))
    config, weights = _fitted(folder, stored, weights, original=layout == _ORIGINAL)
    _check_vocabulary(folder, prompts, config)
    config.text_config.bos_token_id = prompts.bos
    config.text_config.eos_token_id = prompts.eos
    config.text_config.pad_token_id = prompts.pad
    stored_dtype = weights["model.language_model.embed_tokens.weight"].dtype
    network, unused = _build(folder, config, weights, dtype_of(dtype, stored_dtype, folder))
    return Checkpoint(network, prompts, _processor(folder, config), layout, tuple(sorted(unused)))


def _fitted(
    folder: Path, stored: Mapping[str, Any], weights: dict[str, torch.Tensor], *, original: bool
) -> tuple[JanusConfig, dict[str, torch.Tensor]]:
    """Return configuration and weights for the transformers classes.

    `tie_word_embeddings` follows the files: transformers assumes it where config.json is silent, and would then
    drop the output matrix of the file.
    """
    from transformers import JanusConfig

    try:
        if original:
            config, weights = config_of(stored, weights), renamed(weights)
        else:
            config = JanusConfig.from_dict(dict(stored))
    except KeyError as error:
        raise DataError(
            f"{folder}: {error.args[0]} is missing; this is not a complete folder of Janus or Janus-Pro in "
            "the original layout (JanusFlow is another model)"
        ) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{folder / 'config.json'} does not describe a Janus model: {error}") from error
    config.tie_word_embeddings = "lm_head.weight" not in weights
    return config, weights


def _build(
    folder: Path, config: JanusConfig, weights: dict[str, torch.Tensor], dtype: torch.dtype
) -> tuple[JanusForConditionalGeneration, list[str]]:
    """Return the network with its weights, and the names of weights that it does not have."""
    from transformers import JanusForConditionalGeneration

    network = empty_network(
        lambda: JanusForConditionalGeneration._from_config(config, attn_implementation="sdpa")
    )
    tied = ["lm_head.weight"] if config.tie_word_embeddings else []
    unused = fill(network, weights, folder, dtype=dtype, optional=tied)
    if tied:
        network.tie_weights()
    network.model.vqmodel.float()  # a small network, and images are better
    return network, unused


def _check_vocabulary(folder: Path, prompts: JanusPrompts, config: JanusConfig) -> None:
    size = config.text_config.vocab_size
    ids = (prompts.image, prompts.start, prompts.end, prompts.bos, prompts.eos, prompts.pad)
    if max(ids) >= size:
        raise DataError(
            f"{folder}: tokenizer.json has a special token with the id {max(ids)}, but the model has "
            f"{size} tokens; the tokenizer belongs to another model"
        )


def _processor(folder: Path, config: JanusConfig) -> ImageProcessor:
    stored = read_json(folder / "preprocessor_config.json", required=False)
    if not stored:
        stored = read_json(folder / "processor_config.json", required=False).get("image_processor") or {}
    try:
        return ImageProcessor.of(int(config.vision_config.image_size), stored)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{folder}: its preprocessing of images cannot be read ({error}); see preprocessor_config.json"
        ) from error
