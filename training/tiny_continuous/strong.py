"""Train the decoder behind a strong backbone, so that it can decode whatever a good H says.

The decoder is frozen afterwards and ships; its teacher does not: it only shows that the decoder is able. Both
learn together, from captions, noise and images, in two parts. First a training-only head reads each mention
off a query of its own, which makes sampling learnable in minutes. Then the decoder sees a few queries at a
time, and the head reads all off their mean: so every query comes to carry the whole caption, as a kernel that
pools over the queries takes for granted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from silmm_plugins.models.tiny.vocabulary import Vocabulary
from silmm_plugins.models.tiny_continuous.decoder import TinyDecoder
from silmm_plugins.models.tiny_continuous.language_model import TinyContinuousLM
from silmm_plugins.models.tiny_discrete.image_tokenizer import TinyImageTokenizer
from torch import nn

from training.tiny_continuous.pools import LEVELS, SLOTS
from training.tiny_continuous.sampling import Meaning, SampledImages, image_token_loss, start_from_discrete
from training.tiny_discrete import checkpoint
from training.tiny_discrete.train_language_model import HEADS, HIDDEN, LAYERS, MLP, SAVE_EVERY, learning_rate

QUERIES, PATCH_MLP = 16, 256
DECODER_WIDTH, DECODER_LAYERS, DECODER_HEADS = 128, 4, 4


@dataclass(frozen=True)
class Plan:
    """How long to train."""

    steps: int = 1600
    together_from: int = 900
    """From here on every query is to carry everything."""
    queries: int = 4
    """So many queries does the decoder see at a time from there on."""
    batch: int = 128
    peak: float = 1.5e-3
    image_token_weight: float = 4.0
    meaning_weight: float = 0.3


def new_language_model(vocabulary: Vocabulary, weights: Path) -> TinyContinuousLM:
    """Return the language model with all that `tiny-discrete` has in common with it."""
    model = TinyContinuousLM(
        vocabulary, HIDDEN, LAYERS, HEADS, MLP, queries=QUERIES, patch_mlp=PATCH_MLP
    )
    start_from_discrete(model, weights)
    return model


def new_decoder(tokenizer: TinyImageTokenizer) -> TinyDecoder:
    """Return an untrained decoder with the codebook of the tokenizer."""
    decoder = TinyDecoder(
        HIDDEN, DECODER_WIDTH, DECODER_LAYERS, DECODER_HEADS,
        codes=tokenizer.codes, noise_slots=SLOTS, noise_levels=LEVELS,
    )  # fmt: skip
    decoder.codebook.copy_(tokenizer.codebook)
    return decoder


class Strong(nn.Module):
    """Backbone, decoder and training-only head, checkpointed together."""

    def __init__(self, model: TinyContinuousLM, decoder: TinyDecoder) -> None:
        """Wrap the networks."""
        super().__init__()
        self.model, self.decoder, self.meaning = model, decoder, Meaning(HIDDEN)


def train(
    data: SampledImages, tokenizer: TinyImageTokenizer, start: TinyContinuousLM, work: Path, plan: Plan, seed: int
) -> Strong:
    """Train to the plan's end, resuming from `work`; return the networks in eval mode."""
    torch.manual_seed(seed)
    strong = Strong(start, new_decoder(tokenizer))
    optimizer = torch.optim.AdamW(strong.parameters(), lr=plan.peak, betas=(0.9, 0.98), weight_decay=0.05)
    for step in range(checkpoint.load(work, strong, optimizer), plan.steps):
        rows = np.random.default_rng([seed, 9, step]).integers(len(data), size=plan.batch)
        torch.manual_seed(seed * 1_000_003 + step)  # which queries the decoder sees, the same after a kill
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, plan.steps, plan.peak)
        with torch.autocast("cpu", torch.bfloat16):
            together = step >= plan.together_from
            queries = plan.queries if together else QUERIES
            sample, features = image_token_loss(strong.model, strong.decoder, data, rows, queries)
            read = strong.meaning.together if together else strong.meaning.apart
            said = read(features, torch.from_numpy(data.labels[rows]), torch.from_numpy(data.relations[rows]))
        (plan.image_token_weight * sample + plan.meaning_weight * said).backward()
        torch.nn.utils.clip_grad_norm_(strong.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 20 == 0:
            print(f"strong {step} sample {sample.item():.4f} meaning {said.item():.3f}", flush=True)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == plan.steps:
            checkpoint.save(work, strong, optimizer, step + 1)
    return strong.eval()
