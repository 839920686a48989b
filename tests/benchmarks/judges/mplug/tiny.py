"""Small mPLUG folders in the published layout, with random weights that give varied answers."""

import json
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from silmm_benchmarks.judges.mplug.config import read_config
from silmm_benchmarks.judges.mplug.model import MPlug

WORDS = (
    *("is", "the", "a", "there", "cat", "dog", "red", "blue", "cube", "sphere", "on", "left", "of", "how"),
    *("many", "what", "color", "yes", "no", "two", "in", "and", "image", "##s", "##ing", ",", "?"),
    *"abcdefghijklmnopqrstuvwxyz",
)
QUESTIONS = (
    "Is there a red cube?",
    "how many cats, dogs and spheres are there in the image on the left of the blue cube and what color is "
    "the dog on the left of the two red spheres?",
    "What color is the cat?",
    "",
    "IS THERE A RED CUBE",
    "the " * 60,
    "Is the dog on the left of the cat?",
    "unknown Ünïcödé 中文 words",
    "?", "two cats?", "in the image", "a blue sphere and a red sphere", "no",
)
"""Thirteen, of which two are longer than 25 tokens and one is empty."""


def write_config(folder: Path, **changes: object) -> None:
    """Write config.yaml, config_bert.json and vocab.txt; `changes` are of either file."""
    bert = {
        "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 160,
        "max_position_embeddings": 40, "type_vocab_size": 2, "num_hidden_layers": 4, "fusion_layers": 3,
        "encoder_width": 32, "text_encoder_layers": 2, "text_decode_layers": 2, "stride_layer": 2,
        "hidden_act": "gelu", "layer_norm_eps": 1e-12, "pad_token_id": 0, "add_cross_attention": False,
        "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
    }
    clip = {
        "task": "visual-question-answering", "bert_config": "config_bert.json", "image_res": 56,
        "vision_width": 64, "distill": False, "clip_name": "ViT-L-14", "min_length": 1, "max_length": 10,
        "beam_size": 5, "clip_embed_dim": 16, "clip_image_resolution": 28, "clip_vision_layers": 2,
        "clip_vision_width": 64, "clip_vision_patch_size": 14, "clip_context_length": 8,
        "clip_vocab_size": 32, "clip_transformer_width": 16, "clip_transformer_heads": 2,
        "clip_transformer_layers": 1,
    }
    bert |= {key: value for key, value in changes.items() if key in bert}
    clip |= {key: value for key, value in changes.items() if key in clip}
    assert set(changes) <= set(bert) | set(clip)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(clip))
    (folder / "config_bert.json").write_text(json.dumps(bert))
    # [CLS] and [SEP] are at 101 and 102 in BERT's vocabulary.
    unused = [f"[unused{number}]" for number in range(99)]
    words = ["[PAD]", *unused, "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")


def randomise(model: torch.nn.Module, seed: int) -> dict[str, torch.Tensor]:
    """Fill a model with weights that matter, [SEP] neither always nor never the best; return its state."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            state[name] = tensor
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        norm = tensor.ndim == 1 and name.endswith("weight")
        state[name] = 1 + 0.1 * noise if norm else noise * (0.2 if tensor.ndim > 1 else 0.1)
    for name in ("text_decoder.cls.predictions.decoder.bias", "text_decoder.cls.predictions.bias"):
        if name in state:
            bias = torch.zeros_like(state[name])
            bias[102] = 2.0
            state[name] = bias
    return state


def write_folder(folder: Path, seed: int = 0, **changes: object) -> Path:
    """Write a whole folder."""
    write_config(folder, **changes)
    config, _ = read_config(folder)
    torch.save({"model": randomise(MPlug(config), seed)}, folder / "pytorch_model.bin")
    return folder


def images(count: int, seed: int = 0) -> list[Image.Image]:
    """Make RGB images of unequal sizes."""
    random = np.random.default_rng(seed)
    sizes = [(40 + 9 * number, 70 - 5 * number) for number in range(count)]
    return [
        Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for width, height in sizes
    ]
