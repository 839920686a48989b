"""What the original config.json does not say is read from the weights; at real sizes the counts fit."""

from __future__ import annotations

import pytest
import torch
from accelerate import init_empty_weights
from silmm_plugins.models.janus.original_layout import config_of
from transformers import JanusForConditionalGeneration

PUBLISHED = {
    "1b": (
        {
            "hidden_size": 2048, "intermediate_size": 5632, "num_attention_heads": 16,
            "num_key_value_heads": 16, "num_hidden_layers": 24,
        },
        1_866_921_611,
    ),
    "7b": ({"num_hidden_layers": 30}, 6_988_342_923),  # the rest are Llama's own defaults, as in the release
}  # fmt: skip
"""Language model of config.json, and the parameters of the whole without the output matrix."""


def shapes(hidden: int) -> dict[str, torch.Tensor]:
    """Return tensors without storage, under original names, of the shapes that tell sizes."""
    tower, coder = "vision_model.vision_tower.", "gen_vision_model."
    sizes: dict[str, tuple[int, ...]] = {
        f"{tower}pos_embed": (1, 576, 1024),
        f"{tower}patch_embed.proj.weight": (1024, 3, 16, 16),
        "aligner.layers.0.weight": (hidden, 1024),
        "aligner.layers.2.weight": (hidden, hidden),
        "gen_aligner.layers.0.weight": (hidden, 8),
        "gen_aligner.layers.2.weight": (hidden, hidden),
        "gen_head.output_mlp_projector.weight": (hidden, hidden),
        f"{coder}quantize.embedding.weight": (16384, 8),
        f"{coder}encoder.conv_in.weight": (128, 3, 3, 3),
        f"{coder}decoder.conv_in.weight": (512, 256, 3, 3),
        f"{coder}decoder.conv_out.weight": (3, 128, 3, 3),
    }
    sizes |= {f"{tower}blocks.{layer}.mlp.fc1.weight": (4096, 1024) for layer in range(24)}
    for level, width in enumerate((128, 128, 256, 256, 512)):
        names = [f"{coder}encoder.conv_blocks.{level}.res.{block}.conv1.weight" for block in range(2)]
        sizes |= dict.fromkeys(names, (width, 1, 3, 3))
    return {name: torch.empty(size, device="meta") for name, size in sizes.items()}


@pytest.mark.parametrize("size", PUBLISHED)
def test_published_sizes(size):
    """Janus-Pro 1B and 7B get their numbers of parameters, 576 codes and 16 heads in the tower."""
    language, parameters = PUBLISHED[size]
    stored = {"language_config": {"model_type": "llama", "vocab_size": 102400, "torch_dtype": "bfloat16"}}
    stored["language_config"] |= {"max_position_embeddings": 16384, **language}
    config = config_of(stored, shapes(language.get("hidden_size", 4096)))
    with init_empty_weights():
        network = JanusForConditionalGeneration(config)
    head = network.lm_head.weight.numel()  # of its own: the release does not tie it to the embeddings
    assert sum(p.numel() for p in network.parameters()) == parameters + head
    assert config.vq_config.num_patches**2 == config.vision_config.num_image_tokens == 576
    assert config.vision_config.num_attention_heads == 16
    assert config.vision_config.image_size == 384
    assert not config.tie_word_embeddings
