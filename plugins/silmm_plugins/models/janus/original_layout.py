"""The original release's layout (deepseek-ai) for the transformers classes: names of weights, and sizes.

The original config.json has the sizes of neither the vision tower nor the image tokenizer; they are read from the
shapes of the weights (docs/spec/base-models.md 5.4).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import JanusConfig

_TOWER = "vision_model.vision_tower."
_CODER = "gen_vision_model."
_TOWER_HEADS = {1024: 16}
"""Width of a published vision tower -> its attention heads, which no shape shows."""

_UNUSED = re.compile(r"vision_model\.vision_tower\.attn_pool\.|gen_vision_model\.quantize\.codebook_used$")
"""The tower's pooling, which Janus does not use, and a counter of training."""
_LLAMA_FOREIGN = ("model_type", "torch_dtype", "dtype", "_attn_implementation", "architectures")

_RENAMES = tuple(
    (re.compile(pattern), new)
    for pattern, new in (
        (r"^language_model\.lm_head\.", "lm_head."),
        (r"^language_model\.model\.", "model.language_model."),
        (r"^gen_embed\.", "model.generation_embeddings."),
        (r"^gen_aligner\.", "model.generation_aligner."),
        (r"^gen_head\.output_mlp_projector\.", "model.generation_head.proj_out."),
        (r"^gen_head\.", "model.generation_head."),
        (r"^aligner\.", "model.aligner."),
        (r"^gen_vision_model\.", "model.vqmodel."),
        (r"^(model\.vqmodel\.encoder)\.conv_blocks\.", r"\1.down."),
        (r"^(model\.vqmodel\.decoder)\.conv_blocks\.", r"\1.up."),
        (r"^(model\.vqmodel\..*)\.res\.", r"\1.block."),
        (r"^(model\.vqmodel\..*\.mid)\.0\.", r"\1.block_1."),
        (r"^(model\.vqmodel\..*\.mid)\.1\.", r"\1.attn_1."),
        (r"^(model\.vqmodel\..*\.mid)\.2\.", r"\1.block_2."),
        (r"^vision_model\.vision_tower\.", "model.vision_model."),
        (r"^(model\.vision_model)\.blocks\.", r"\1.encoder.layers."),
        (r"^(model\.vision_model)\.patch_embed\.proj\.", r"\1.embeddings.patch_embedding."),
        (r"^(model\.vision_model)\.pos_embed$", r"\1.embeddings.position_embedding.weight"),
        (r"^(model\.vision_model)\.norm\.", r"\1.post_layernorm."),
        (r"^(model\.vision_model\..*)\.norm([12])\.", r"\1.layer_norm\2."),
        (r"^(model\.vision_model\..*)\.attn\.proj\.", r"\1.self_attn.projection_layer."),
        (r"^(model\.vision_model\..*)\.attn\.qkv\.", r"\1.self_attn.qkv."),
    )
)
_PROJECTOR = re.compile(r"^(model\.(?:generation_)?aligner)\.layers\.(\d+)\.")


def renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights that `JanusForConditionalGeneration` uses, under its names.

    The tower's joint query, key and value maps are split, its position table loses the batch dimension.
    """
    result: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if _UNUSED.match(name):
            continue
        new = _new_name(name)
        if ".self_attn.qkv." in new:
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                result[new.replace(".qkv.", f".{letter}_proj.")] = part
        else:
            result[new] = tensor[0] if name == f"{_TOWER}pos_embed" else tensor
    return result


def _new_name(name: str) -> str:
    for pattern, new in _RENAMES:
        name = pattern.sub(new, name)
    projector = _PROJECTOR.match(name)
    if projector is None:
        return name
    index = int(projector[2]) // 2  # a non-linearity stands between each two linear maps
    layer = "fc1" if index == 0 else f"hidden_layers.{index - 1}"
    return f"{projector[1]}.{layer}.{name[projector.end():]}"


def config_of(original: Mapping[str, Any], weights: Mapping[str, Tensor]) -> JanusConfig:
    """Return the configuration that builds the transformers classes at the sizes of `weights`.

    Args:
        original: config.json of the release.
        weights: its tensors under their original names.

    Raises:
        KeyError: a weight or a key that decides a size is missing; the message is its name.
    """
    from transformers import JanusConfig, LlamaConfig

    language = {k: v for k, v in original["language_config"].items() if k not in _LLAMA_FOREIGN}
    text = LlamaConfig(**language)
    return JanusConfig(
        text_config=text,
        vision_config=_tower_sizes(weights, text.num_attention_heads),
        vq_config=_coder_sizes(weights),
        tie_word_embeddings=False,
    )


def _tower_sizes(weights: Mapping[str, Tensor], language_heads: int) -> dict[str, Any]:
    _, tokens, width = weights[f"{_TOWER}pos_embed"].shape
    patch = weights[f"{_TOWER}patch_embed.proj.weight"].shape[-1]
    return {
        "hidden_size": width,
        "num_hidden_layers": _count(weights, rf"{re.escape(_TOWER)}blocks\.(\d+)\."),
        # A tower of another width is unpublished; the language model's number of heads is a guess.
        "num_attention_heads": _TOWER_HEADS.get(width, language_heads),
        "image_size": math.isqrt(tokens) * patch,
        "patch_size": patch,
        "num_image_tokens": tokens,
        "mlp_ratio": weights[f"{_TOWER}blocks.0.mlp.fc1.weight"].shape[0] / width,
        "projection_dim": weights["aligner.layers.0.weight"].shape[0],
        "depth": _count(weights, r"aligner\.layers\.(\d+)\."),
    }


def _coder_sizes(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    codes, width = weights[f"{_CODER}quantize.embedding.weight"].shape
    base, channels = weights[f"{_CODER}encoder.conv_in.weight"].shape[:2]
    levels = _count(weights, rf"{re.escape(_CODER)}encoder\.conv_blocks\.(\d+)\.")
    wide = [
        weights[f"{_CODER}encoder.conv_blocks.{level}.res.0.conv1.weight"].shape[0] for level in range(levels)
    ]
    return {
        "num_embeddings": codes,
        "embed_dim": width,
        "base_channels": base,
        "in_channels": channels,
        "out_channels": weights[f"{_CODER}decoder.conv_out.weight"].shape[0],
        "channel_multiplier": [channels // base for channels in wide],
        "num_res_blocks": _count(weights, rf"{re.escape(_CODER)}encoder\.conv_blocks\.0\.res\.(\d+)\."),
        "latent_channels": weights[f"{_CODER}decoder.conv_in.weight"].shape[1],
        "projection_dim": weights["gen_aligner.layers.0.weight"].shape[0],
        "num_hidden_layers": _count(weights, r"gen_aligner\.layers\.(\d+)\."),
        "image_token_embed_dim": weights["gen_head.output_mlp_projector.weight"].shape[1],
    }


def _count(weights: Mapping[str, Tensor], pattern: str) -> int:
    """Return how many different numbers the group of `pattern` matches."""
    return len({match[1] for match in map(re.compile(pattern).match, weights) if match})
