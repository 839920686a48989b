"""Tiny Emu3 checkpoints with random weights in both layouts, made by the stock classes of transformers."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import torch
from silmm_plugins.models.emu3.tokenizer import load_tokenizer
from transformers import Emu3Config, Emu3ForCausalLM, Emu3ForConditionalGeneration

CODES = 32
WORDS = (" yes", " no", " Yes", " No", " a", " red", " blue", " cat", " cube", " the", " is", " of", "No")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|extra_{i}|>" for i in range(205))]
VISION = [
    *("<|image token|>", "<|image start|>", "<|image end|>"),
    *(f"<|visual token {i:06d}|>" for i in range(CODES)),
]
PROCESSING = {
    "image_mean": [0.5] * 3,
    "image_std": [0.5] * 3,
    "rescale_factor": 1 / 255,
    "resample": 3,
    "min_pixels": 576,
    "max_pixels": 2304,
}


def ranks() -> dict[bytes, int]:
    """Return a byte-pair vocabulary: every byte, and every beginning of a few words."""
    pieces = [bytes([i]) for i in range(256)]
    pieces += dict.fromkeys(word.encode()[:end] for word in WORDS for end in range(2, len(word) + 1))
    return {piece: rank for rank, piece in enumerate(pieces)}


def write(folder: Path) -> Path:
    """Write Emu3-Gen-hf and, of the same language model, Emu3-Gen; and Emu3-Chat of other weights."""
    write_original(folder / "Emu3-Chat", causal(seed=2))
    whole = conditional(seed=1)
    alone = Emu3ForCausalLM(whole.config.text_config)
    alone.model.load_state_dict(whole.model.text_model.state_dict())
    alone.lm_head.load_state_dict(whole.lm_head.state_dict())
    write_original(folder / "Emu3-Gen", alone)
    hf = folder / "Emu3-Gen-hf"
    whole.save_pretrained(hf)
    (hf / "preprocessor_config.json").write_text(json.dumps(PROCESSING))
    pieces = load_tokenizer(folder / "Emu3-Gen", CODES, 10**6)._pieces
    pieces.add_special_tokens([*SPECIAL, *VISION])
    pieces.save(str(hf / "tokenizer.json"))
    return folder


def write_original(folder: Path, model: Any) -> None:
    """Write a language model as the original release does: flat keys, two shards, a tiktoken file."""
    model.save_pretrained(folder, max_shard_size="80KB")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "Emu3", "rope_theta": 1e6, "torch_dtype": "float32", "image_area": 1024}
    (folder / "config.json").write_text(json.dumps(config))
    lines = [f"{base64.b64encode(piece).decode()} {rank}" for piece, rank in ranks().items()]
    (folder / "emu3.tiktoken").write_text("\n".join(lines) + "\n")
    (folder / "emu3_vision_tokens.txt").write_text("\n".join(VISION) + "\n")


def vocabulary() -> dict[str, int]:
    """Return the ids of special and image tokens, and of the placeholder that transformers wants."""
    names = {name: len(ranks()) + i for i, name in enumerate([*SPECIAL, *VISION])}
    return names | {"<image>": names["<|extra_0|>"]}


def text_config() -> dict[str, Any]:
    """Return the configuration of the language models; dropout is that of the release."""
    names = vocabulary()
    return {
        "vocab_size": len(ranks()) + len(SPECIAL) + len(VISION),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "rope_theta": 1e6,
        "attention_dropout": 0.1,
        "initializer_range": 0.2,
        "pad_token_id": names["<|endoftext|>"],
        "bos_token_id": names["<|extra_203|>"],
        "eos_token_id": names["<|extra_204|>"],
    }


def config() -> Emu3Config:
    """Return a configuration of 8 pixels a code, as in the release."""
    return Emu3Config(
        text_config=text_config(),
        vq_config={
            "codebook_size": CODES,
            "base_channels": 32,
            "channel_multiplier": [1, 1, 1, 1],
            "hidden_size": 32,
            "num_res_blocks": 1,
            "attn_resolutions": [3],
            "num_attention_heads": 1,
            "temporal_downsample_factor": 4,
        },
        vocabulary_map=vocabulary(),
        tie_word_embeddings=False,
    )


def conditional(seed: int) -> Emu3ForConditionalGeneration:
    """Return the whole model with random weights of the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Emu3ForConditionalGeneration(config()).eval()
        with torch.no_grad():
            model.model.vqmodel.quantize.embedding.weight.normal_()
    return model


def causal(seed: int) -> Emu3ForCausalLM:
    """Return a language model with random weights of the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Emu3ForCausalLM(config().text_config).eval()
