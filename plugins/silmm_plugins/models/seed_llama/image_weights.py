"""Weights of the SEED tokenizer from seed_quantizer.pt and, where it lacks them, eva_vit_g.pth."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch

from silmm.checkpoint.networks import fill
from silmm.checkpoint.weight_files import read_pickle
from silmm.errors import DataError
from silmm_plugins.models.seed_llama.locate import QUANTIZER, VIT
from silmm_plugins.models.seed_llama.sizes import Sizes, VisionSizes

if TYPE_CHECKING:
    from silmm_plugins.models.seed_llama.image_tokenizer import SeedImageTokenizer

Weights: TypeAlias = dict[str, torch.Tensor]

_VISION = "visual_encoder."
_LAYER = "Qformer.bert.encoder.layer."
_VIT_HEADS = {1408: 16}
"""Width of the published image encoder to its attention heads, which no shape tells."""
_HEADS = 12
"""Of the Q-Former and of the blocks behind the codebook; in no file, the original fixes it."""
_UNUSED = re.compile(
    r"pos_embed$|blocks\.|Qformer\.cls\.|Qformer\.bert\.embeddings\.(position_ids|word_|position_emb)"
    r"|Qformer\.bert\.encoder\.layer\.\d+\.(intermediate|output)\."
)
"""Parts of the file that only its training used."""






def load_image_tokenizer(
    folder: Path, vit: Path | None, vit_heads: int, guess: int
) -> tuple[SeedImageTokenizer, tuple[str, ...]]:
    """Return the tokenizer in float32, frozen and in eval mode, and the names of weights without a place.

    Args:
        folder: holds seed_quantizer.pt.
        vit: eva_vit_g.pth, read only if the other file holds no image encoder; its last block is not used.
        vit_heads: attention heads of the image encoder; 0 is 16 at the published width, else `guess`.
        guess: for an image encoder of another width.

    Raises:
        DataError: a file is damaged or of something else, or the image encoder is in neither.
    """
    from silmm_plugins.models.seed_llama.image_tokenizer import SeedImageTokenizer

    path = folder / QUANTIZER
    weights = read_pickle(path, ["model"])
    if not any(name.startswith(_VISION) for name in weights):
        weights |= _vision(path, vit)
    try:
        sizes = _sizes(weights, vit_heads, guess)
    except (KeyError, ValueError, IndexError) as error:
        raise DataError(
            f"{path} holds no SEED tokenizer: {error} is missing or of another shape; take {QUANTIZER} of "
            "seed-tokenizer-2"
        ) from error
    with torch.device("meta"):
        network = SeedImageTokenizer(sizes)
    unknown = fill(network, weights, path, dtype=torch.float32, remedy="copy it again")
    return network, tuple(name for name in unknown if not _UNUSED.match(name))


def _vision(path: Path, vit: Path | None) -> Weights:
    if vit is None:
        raise DataError(
            f"{path} holds no image encoder and there is no {VIT} beside it; get that file (LAVIS, EVA-CLIP "
            f"ViT-g) and give it as --set model.vit=FILE"
        )
    found = {_VISION + name: value for name, value in read_pickle(vit, ["model"]).items()}
    try:
        last = f"{_VISION}blocks.{_numbers(found, f'{_VISION}blocks.')[-1]}."
    except KeyError as error:
        raise DataError(f"{vit} holds no image encoder: {error} is missing") from error
    return {name: value for name, value in found.items() if not name.startswith(last)}


def _sizes(weights: Weights, vit_heads: int, guess: int) -> Sizes:
    queries = weights["query_tokens"]
    layers = {i: f"{_LAYER}{i}.crossattention.self.key.weight" in weights for i in _numbers(weights, _LAYER)}
    down = sorted((name for name in weights if name.startswith("image_down.")), key=_number)
    return Sizes(
        vision=_vision_sizes(weights, vit_heads, guess),
        length=queries.shape[1],
        width=queries.shape[2],
        hidden=len(weights[f"{_LAYER}0.intermediate_query.dense.weight"]),
        heads=_HEADS,
        layers=layers,
        codes=weights["quantize.embedding.weight"].shape[0],
        code=weights["quantize.embedding.weight"].shape[1],
        blocks=len(_numbers(weights, "blocks_image.")),
        block_hidden=len(weights["blocks_image.0.mlp.fc1.weight"]),
        down=tuple(len(weights[name]) for name in down),
        embedding=len(weights["distill_image_proj.weight"]),
    )


def _vision_sizes(weights: Weights, given: int, guess: int) -> VisionSizes:
    patches = weights[f"{_VISION}patch_embed.proj.weight"]
    heads = given or _VIT_HEADS.get(len(patches), guess)
    if patches.shape[0] % heads:
        raise ValueError(f"a width that {heads} heads divide (model.vit_heads)")
    return VisionSizes(
        width=patches.shape[0],
        depth=len(_numbers(weights, f"{_VISION}blocks.")),
        heads=heads,
        hidden=len(weights[f"{_VISION}blocks.0.mlp.fc1.weight"]),
        patch=patches.shape[-1],
        grid=round((weights[f"{_VISION}pos_embed"].shape[1] - 1) ** 0.5),
    )


def _numbers(weights: Weights, prefix: str) -> list[int]:
    """Return the numbers that follow a prefix in the names, in order."""
    found = {int(name[len(prefix) :].split(".")[0]) for name in weights if name.startswith(prefix)}
    if not found:
        raise KeyError(prefix + "0")
    return sorted(found)


def _number(name: str) -> int:
    return int(name.split(".")[1])
