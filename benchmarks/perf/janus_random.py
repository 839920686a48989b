"""A Janus checkpoint folder in the transformers layout with random weights, at any size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from silmm_plugins.models.janus.prompts import SYSTEM
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import JanusConfig, JanusForConditionalGeneration, LlamaConfig

SPECIAL = (
    "<｜begin▁of▁sentence｜>",
    "<｜end▁of▁sentence｜>",
    "<｜▁pad▁｜>",
    "<begin_of_image>",
    "<|User|>",
    "<|Assistant|>",
    "<image_placeholder>",
    "<end_of_image>",
)
_TEXT = (
    "yes no Yes No: yes, no, Yes, No",
    "Is there a red cube on the left of the blue sphere? Answer yes or no.",
    "Is there a cat? Is it night? Are there three green pears on the table?",
    "Does the boy in the red coat fly a kite over the hill? (0) (1) (2) (3) (4) (5) (6) (7) (8) (9)",
    SYSTEM,
)
"""What the tokenizer learns its words from; so often that each becomes one token, as in a real vocabulary."""


@dataclass(frozen=True)
class Sizes:
    """The sizes that cost time; the default is the smallest that the real classes allow."""

    hidden: int = 32
    layers: int = 2
    heads: int = 4
    mlp: int = 48
    tower: int = 16
    """Width of the vision tower."""
    tower_layers: int = 2
    tower_heads: int = 2
    side: int = 16
    """Width and height of images, in pixels."""
    patch: int = 4
    codes: int = 24


def tokenizer() -> Tokenizer:
    """Return a byte-level tokenizer with the special tokens of Janus."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(_TEXT * 4, trainer)
    return made


def write(folder: Path, sizes: Sizes | None = None, seed: int = 0) -> Path:
    """Write a checkpoint folder and return it; the image tokenizer is always tiny, for it is not timed."""
    sizes = sizes or Sizes()
    words = tokenizer()
    ids = {name: words.token_to_id(name) for name in SPECIAL}
    config = JanusConfig(
        text_config=LlamaConfig(
            vocab_size=words.get_vocab_size(),
            hidden_size=sizes.hidden,
            intermediate_size=sizes.mlp,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            num_key_value_heads=sizes.heads,
            max_position_embeddings=2048,
            bos_token_id=ids[SPECIAL[0]],
            eos_token_id=ids[SPECIAL[1]],
            pad_token_id=ids[SPECIAL[2]],
            initializer_range=0.1,
        ),
        vision_config={
            "hidden_size": sizes.tower,
            "num_hidden_layers": sizes.tower_layers,
            "num_attention_heads": sizes.tower_heads,
            "image_size": sizes.side,
            "patch_size": sizes.patch,
            "num_image_tokens": (sizes.side // sizes.patch) ** 2,
            "projection_dim": sizes.hidden,
            "initializer_range": 0.1,
        },
        vq_config={
            "num_embeddings": sizes.codes,
            "embed_dim": 8,
            "base_channels": 32,
            "channel_multiplier": [1] * (1 + (sizes.patch - 1).bit_length()),
            "num_res_blocks": 1,
            "latent_channels": 32,
            "projection_dim": sizes.hidden,
            "image_token_embed_dim": sizes.hidden,
            "initializer_range": 0.1,
        },
        image_token_id=ids["<image_placeholder>"],
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = JanusForConditionalGeneration(config)
        with torch.no_grad():  # choices matter only where logits differ
            network.lm_head.weight *= 5
            network.model.generation_head.vision_head.weight *= 5
            network.model.generation_embeddings.weight.normal_()
    network.save_pretrained(folder)
    words.save(str(folder / "tokenizer.json"))
    return folder
