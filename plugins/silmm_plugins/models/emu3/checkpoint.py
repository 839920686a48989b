"""The language models of Emu3, of either layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from silmm.checkpoint.devices import dtype_of
from silmm.checkpoint.folders import read_json
from silmm.checkpoint.networks import load_pretrained
from silmm.errors import DataError
from silmm_plugins.models.emu3.locate import form_of

_TEXT_FIELDS = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "rope_theta", "hidden_act"),
    *("pad_token_id", "bos_token_id", "eos_token_id", "tie_word_embeddings"),
)


def load_language_model(folder: Path, dtype: str) -> Any:
    """Load the transformers model of either layout into main memory, frozen, in eval mode, without dropout.

    An -hf folder gives Emu3ForConditionalGeneration without its `vqmodel` (:mod:`.image_tokenizer` has that), an
    original one Emu3ForCausalLM: module names, and so names of LoRA weights, are those of the class with which
    the folder's users load it (docs/spec/base-models.md 3.2).

    Args:
        folder: the checkpoint.
        dtype: "auto" (as the checkpoint says), "float32", "bfloat16" or "float16".

    Raises:
        DataError: files are missing or damaged, or config and weights do not agree.
    """
    from transformers import Emu3Config, Emu3ForCausalLM, Emu3ForConditionalGeneration, Emu3TextConfig

    hf = form_of(folder) == "hf"
    path = folder / "config.json"
    stored = read_json(path)
    missing = [] if hf else [name for name in _TEXT_FIELDS if name not in stored]
    if missing:
        raise DataError(f"{path} lacks {missing[0]!r}; emu3 reads the original config of Emu3")
    try:  # the config class of an original folder is remote code, which is not run
        config = Emu3Config.from_pretrained(str(folder)) if hf else Emu3TextConfig(**_text_fields(stored))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} does not describe a language model of Emu3 ({error!r}); copy it again") from error
    # Emu3 applies it to the residual branches, too, and train() would switch it on.
    config.get_text_config().attention_dropout = 0.0
    model = load_pretrained(
        Emu3ForConditionalGeneration if hf else Emu3ForCausalLM,
        folder,
        dtype_of(dtype, stored.get("dtype") or stored.get("torch_dtype"), path),
        exact=True,
        config=config,
        use_safetensors=True,
    )
    if hf:
        del model.model.vqmodel
    return model


def _text_fields(stored: dict[str, Any]) -> dict[str, Any]:
    return {name: stored[name] for name in _TEXT_FIELDS}
