"""Learning to sample: captions through queries and decoder to the patches of the images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from silmm_benchmarks.shapes.world import COLORS, RELATIONS, SHAPES, TEXTURES
from silmm_plugins.models.tiny.vocabulary import Vocabulary
from silmm_plugins.models.tiny_continuous.decoder import TinyDecoder
from silmm_plugins.models.tiny_continuous.language_model import TinyContinuousLM
from silmm_plugins.models.tiny_discrete.image_tokenizer import TinyImageTokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from training.tiny_continuous.pools import MENTIONS
from training.tiny_discrete.train_language_model import encode_all

KINDS = (len(SHAPES) + 1, len(COLORS) + 1, len(TEXTURES) + 1, 5)
RELATION_KINDS = len(RELATIONS) + 1


@dataclass(frozen=True)
class SampledImages:
    """The pool with images as codes and captions as ids."""

    prompts: list[list[int]]
    noise: NDArray[np.int64]
    codes: NDArray[np.int64]
    labels: NDArray[np.int64]
    relations: NDArray[np.int64]

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.prompts)


def load_sampled_images(path: Path, tokenizer: TinyImageTokenizer, vocabulary: Vocabulary) -> SampledImages:
    """Read a pool."""
    pool = np.load(path)
    prompts = [[vocabulary.bos, vocabulary.sample, *vocabulary.encode(str(t))] for t in pool["captions"]]
    return SampledImages(
        prompts, pool["noise"], encode_all(tokenizer, pool["images"]),
        pool["labels"].astype(np.int64), pool["relations"].astype(np.int64),
    )  # fmt: skip


class Meaning(nn.Module):
    """Training-only heads that read what a caption says off H: mention by mention, and off its mean."""

    def __init__(self, hidden: int) -> None:
        """Build with random weights."""
        super().__init__()
        self.mention = nn.Linear(hidden, sum(KINDS))
        self.relation = nn.Linear(hidden, RELATION_KINDS)
        self.whole = nn.Linear(hidden, MENTIONS * sum(KINDS) + RELATION_KINDS)

    def apart(self, features: Tensor, labels: Tensor, relations: Tensor) -> Tensor:
        """Read mention m off query m, and the relation off the next: (batch, MENTIONS, 4), (batch,)."""
        said = self.mention(features[:, :MENTIONS])
        return _said_loss(said, self.relation(features[:, MENTIONS]), labels, relations)

    def together(self, features: Tensor, labels: Tensor, relations: Tensor) -> Tensor:
        """Read all of it off the mean over the queries."""
        said, relation = self.whole(features.mean(1)).split((MENTIONS * sum(KINDS), RELATION_KINDS), -1)
        return _said_loss(said.unflatten(-1, (MENTIONS, -1)), relation, labels, relations)


def _said_loss(said: Tensor, relation: Tensor, labels: Tensor, relations: Tensor) -> Tensor:
    parts = said.float().split(KINDS, -1)
    loss = sum(F.cross_entropy(p.flatten(0, 1), labels[..., i].flatten()) for i, p in enumerate(parts))
    return loss + F.cross_entropy(relation.float(), relations)


def start_from_discrete(model: TinyContinuousLM, weights: Path) -> None:
    """Take the transformer, the words and the places from the weights of `tiny-discrete`."""
    found = {name: tensor.float() for name, tensor in load_file(weights).items()}
    words = len(model.vocabulary)
    embedding = "backbone.model.embed_tokens.weight"
    found[embedding] = found[embedding][:words]
    missing, unexpected = model.load_state_dict(found, strict=False)
    own = {"backbone.lm_head.weight", "queries"} | {n for n in missing if n.startswith("patch_encoder.")}
    if unexpected or set(missing) - own:
        raise ValueError(f"{weights} does not fit: {missing} {unexpected}")
    model.backbone.tie_weights()


def image_token_loss(
    model: TinyContinuousLM, decoder: TinyDecoder, data: SampledImages, rows: NDArray[np.int64], queries: int
) -> tuple[Tensor, Tensor]:
    """Return the mean negative log-likelihood of the patches, nats a patch, and H.

    The decoder sees `queries` of the features' positions, sampled at random for each image.
    """
    features = model.features([data.prompts[r] for r in rows])
    seen = features
    if queries < features.shape[1]:
        picked = torch.rand(features.shape[:2]).argsort(1)[:, :queries]
        seen = features.gather(1, picked[..., None].expand(-1, -1, features.shape[2]))
    logits = decoder.logits(seen, torch.from_numpy(data.noise[rows]))
    codes = torch.from_numpy(data.codes[rows])
    return F.cross_entropy(logits.float().flatten(0, 1), codes.flatten()), features
