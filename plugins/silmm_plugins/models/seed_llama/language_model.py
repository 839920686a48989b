"""The language model of SEED-LLaMA: the stock Llama of transformers, loaded from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import LlamaForCausalLM

from silmm.errors import DataError
from silmm_plugins.models._shared.dtypes import dtype_of
from silmm_plugins.models._shared.pickled_weights import read_pickled
from silmm_plugins.models.seed_llama.locate import read_json

_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_SINGLE = ("model.safetensors", "pytorch_model.bin")


def load_language_model(folder: Path, dtype: str) -> Any:
    """Return the Llama in main memory, in eval mode and frozen; `dtype` "auto" is the checkpoint's own.

    Raises:
        DataError: the folder is of another model, or a shard is missing or damaged.
    """
    path = folder / "config.json"
    config = read_json(path)
    shards = _shards(folder)
    try:
        model, info = LlamaForCausalLM.from_pretrained(
            folder, dtype=dtype_of(dtype, config.get("dtype") or config.get("torch_dtype"), path),
            local_files_only=True, output_loading_info=True, attn_implementation="sdpa",
            ignore_mismatched_sizes=True,
        )  # fmt: skip
    except Exception as error:  # transformers and torch raise many kinds for damaged files
        for shard in shards:
            _read(shard)  # raises for the damaged one
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{folder} cannot be read as weights of a Llama ({reason}); copy it again") from error
    other = sorted(map(str, info["mismatched_keys"]))
    if other:
        raise DataError(
            f"{folder}: {len(other)} weights have other shapes than config.json says, {other[0]} for one; "
            "the files belong to different models"
        )
    missing = sorted(info["missing_keys"])
    if missing:
        raise DataError(f"{folder} lacks {len(missing)} weights, {missing[0]} for one; copy it again")
    return model.eval().requires_grad_(False)


def _shards(folder: Path) -> list[Path]:
    """Return the weight files, all of which are there."""
    for name in _INDEXES:
        if not (folder / name).is_file():
            continue
        table = read_json(folder / name).get("weight_map")
        if not isinstance(table, dict) or not table:
            raise DataError(f"{folder / name} maps no weights to files; copy it again")
        files = sorted({str(file) for file in table.values()})
        lost = [file for file in files if Path(file).name != file or not (folder / file).is_file()]
        if lost:
            raise DataError(
                f"{folder} lacks {lost[0]}, one of the {len(files)} files that {name} names; copy it again"
            )
        return [folder / file for file in files]
    single = [folder / name for name in _SINGLE if (folder / name).is_file()]
    if not single:
        raise DataError(f"{folder} holds no weights: expected {_INDEXES[1]}, {_INDEXES[0]} or a single file")
    return single[:1]


def _read(shard: Path) -> None:
    """Read a file of weights for nothing but the error that names it.

    Raises:
        DataError: it cannot be read.
    """
    if shard.suffix != ".safetensors":
        read_pickled(shard)
        return
    try:
        with safe_open(shard, framework="pt"):
            pass
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"{shard} cannot be read ({error}): it is cut short or damaged; copy it again"
        ) from error
