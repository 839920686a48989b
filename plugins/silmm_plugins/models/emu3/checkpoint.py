"""Reading weights: every shard is looked at first, so that a damaged one fails with its file's name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open

from silmm.errors import DataError
from silmm_plugins.models._shared.dtypes import dtype_of
from silmm_plugins.models.emu3.layout import form_of, read_json

if TYPE_CHECKING:
    from torch import Tensor, nn

_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"
_TEXT_FIELDS = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "rope_theta", "hidden_act"),
    *("pad_token_id", "bos_token_id", "eos_token_id", "tie_word_embeddings"),
)


def shards(folder: Path) -> dict[str, Path]:
    """Return the file of every tensor, after a look at the header and the length of each file.

    Raises:
        DataError: no weights, a missing shard, a truncated one, or one that lacks a tensor of the index.
    """
    if (folder / _INDEX).is_file():
        index = read_json(folder / _INDEX).get("weight_map")
        if not isinstance(index, dict) or not all(Path(str(name)).name == name for name in index.values()):
            raise DataError(f"{folder / _INDEX} has no weight_map of file names; copy it again")
        files = {name: folder / str(name) for name in sorted(set(index.values()))}
    elif (folder / _SINGLE).is_file():
        index, files = None, {_SINGLE: folder / _SINGLE}
    else:
        raise DataError(f"{folder} has neither {_INDEX} nor {_SINGLE}; emu3 reads safetensors only")
    found = {tensor: file for file in files.values() for tensor in _names(file)}
    lost = sorted(name for name, file in (index or {}).items() if found.get(name) != files[file])
    if lost:
        file = files[(index or {})[lost[0]]]
        raise DataError(f"{file} lacks {lost[0]!r}, which {_INDEX} puts there; copy it again")
    return found


def tensors(folder: Path, prefix: str = "") -> dict[str, Tensor]:
    """Return the tensors whose names start with `prefix`, under the rest of their names, on the CPU."""
    by_file: dict[Path, list[str]] = {}
    for name, file in shards(folder).items():
        if name.startswith(prefix):
            by_file.setdefault(file, []).append(name)
    found: dict[str, Tensor] = {}
    for file, names in by_file.items():
        with safe_open(file, framework="pt") as opened:
            found |= {name.removeprefix(prefix): opened.get_tensor(name) for name in names}
    return found


def fill(module: nn.Module, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Put weights into a module.

    Raises:
        DataError: names or shapes do not agree; names the folder and the first tensor.
    """
    try:
        missing, unexpected = module.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise DataError(f"{folder}: {reason}; config and weights do not agree") from error
    _agree(missing, unexpected, folder)


def language_model(folder: Path, dtype: str) -> Any:
    """Load the transformers model of either layout into main memory, frozen, in eval mode, without dropout.

    An -hf folder gives Emu3ForConditionalGeneration without its `vqmodel` (:mod:`.vision` has that),
    an original one Emu3ForCausalLM: module names, and so names of LoRA weights, are those of the class
    with which the folder's users load it (docs/spec/base-models.md 3.2).

    Args:
        folder: the checkpoint.
        dtype: "auto" (as the checkpoint says), "float32", "bfloat16" or "float16".

    Raises:
        DataError: files are missing or damaged, or config and weights do not agree.
    """
    from transformers import Emu3ForCausalLM, Emu3ForConditionalGeneration

    shards(folder)
    hf = form_of(folder) == "hf"
    cls = Emu3ForConditionalGeneration if hf else Emu3ForCausalLM
    try:
        config = cls.config_class.from_pretrained(str(folder)) if hf else _config(folder)
        text = config.get_text_config()
        text.attention_dropout = 0.0  # Emu3 puts it on the residual branches too; train() would wake it up
        model, report = cls.from_pretrained(
            str(folder),
            config=config,
            dtype=_dtype(folder, dtype),
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, by name and shapes
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [repr(error)])[-1]
        raise DataError(f"{folder} cannot be loaded: {reason}; config and weights do not agree") from error
    wrong = sorted(map(str, report["mismatched_keys"]))
    if wrong:
        raise DataError(
            f"the weights in {folder} have other shapes than its config.json says: {wrong[0]} "
            f"({len(wrong)} in all); the files belong to different models"
        )
    _agree(report["missing_keys"], report["unexpected_keys"], folder)
    if hf:
        del model.model.vqmodel
    return model.eval().requires_grad_(False)


def _config(folder: Path) -> Any:
    """Return the text config of an original folder, whose own config class is remote code."""
    from transformers import Emu3TextConfig

    raw = read_json(folder / "config.json")
    lost = [name for name in _TEXT_FIELDS if name not in raw]
    if lost:
        raise DataError(f"{folder / 'config.json'} lacks {lost[0]!r}; emu3 reads the original config of Emu3")
    return Emu3TextConfig(**{name: raw[name] for name in _TEXT_FIELDS})


def _dtype(folder: Path, wanted: str) -> torch.dtype:
    path = folder / "config.json"
    raw = read_json(path)
    return dtype_of(wanted, raw.get("dtype") or raw.get("torch_dtype"), path)


def _names(file: Path) -> list[str]:
    if not file.is_file():
        raise DataError(f"{file} is missing, but {_INDEX} names it; fetch the checkpoint again")
    try:
        with safe_open(file, framework="pt") as opened:
            return list(opened.keys())
    except (SafetensorError, OSError) as error:
        raise DataError(f"{file} is no whole safetensors file ({error}); copy it again") from error


def _agree(missing: Any, unexpected: Any, folder: Path) -> None:
    for names, what in ((missing, "lacks"), (unexpected, "has the unknown")):
        if names:
            first = sorted(map(str, names))[0]
            raise DataError(
                f"the weights in {folder}: {what} tensor {first!r} ({len(list(names))} in all); they are not "
                "those of the model that its config.json describes"
            )
