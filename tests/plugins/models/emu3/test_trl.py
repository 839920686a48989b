"""DPO on Emu3's images against an independent implementation: TRL's trainer on the same pairs."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from silmm_plugins.models.emu3 import grammar
from silmm_plugins.models.emu3.model import Emu3
from silmm_plugins.training.dpo import DpoOptions, dpo
from silmm_plugins.training.objectives import preference_data

from silmm.contracts.models import Preference
from silmm.lora.adapters import new_adapter, trainable_parameters
from tests.plugins.models.emu3.loading import tiny
from tests.plugins.models.emu3.tiny_checkpoint import CODES, causal

pytest.importorskip("trl", reason="TRL is not installed")
pytest.importorskip("datasets", reason="datasets is not installed")
from tests.plugins.training.test_trl_oracle import BETA, trl_trainer

# TRL and transformers warn of their own coming changes; they are not ours to mend
pytestmark = pytest.mark.filterwarnings("ignore")
PROMPTS = ("a cat", "a red cube on the left of a blue cat", "the cat is red")


def preferences() -> list[Preference]:
    """Return two chosen and two rejected images of 4x4 random codes for each prompt."""
    rng = np.random.default_rng(0)
    pairs = ((0, 2), (0, 3), (1, 2), (1, 3))
    return [
        Preference(prompt, tuple(rng.integers(0, CODES, 16).astype(np.int32) for _ in range(4)), pairs)
        for prompt in PROMPTS
    ]


def with_codes_first(model: Emu3) -> Any:
    """Return the very layers of a model in a stock Emu3 whose vocabulary begins with the codes.

    Its head has the rows of the codes alone, so that TRL's softmax over the whole vocabulary is over what
    may be sampled.
    """
    first = model.tokenizer.tokens.visual
    own = causal(seed=0)
    own.model = copy.copy(model.policy.transformer)
    own.model._modules = dict(model.policy.transformer._modules)
    rows = model.policy.transformer.embed_tokens.weight
    own.model.embed_tokens = torch.nn.Embedding.from_pretrained(torch.cat([rows[first:], rows[:first]]))
    own.lm_head = torch.nn.Linear(rows.shape[1], CODES, bias=False)
    own.lm_head.weight = torch.nn.Parameter(model.backbone.lm_head.weight[first:], requires_grad=False)
    return own


def moved(ids: list[int], first: int) -> list[int]:
    """Return ids in the vocabulary that begins with the codes."""
    return [item - first if item >= first else item + CODES for item in ids]


def row(model: Emu3, preference: Preference, pair: tuple[int, int]) -> dict[str, list[int]]:
    """Return a pair as TRL's collator takes it."""
    tokens = model.tokenizer.tokens
    chosen, rejected = (
        moved(grammar.body(tokens, preference.latents[i].reshape(4, 4)), tokens.visual) for i in pair
    )
    prompt = moved(model.prompt_ids(preference.prompt), tokens.visual)
    return {"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected}


def silmm_losses(model: Emu3, reference: Emu3, data: list[Preference]) -> torch.Tensor:
    """Return our mean loss over all pairs, grouped by prompt."""
    stored = []
    for p in data:
        with torch.no_grad():
            stored.append(reference.log_likelihood([p.prompt] * len(p.latents), list(p.latents)))
    batch = preference_data.collate(data, stored, torch.device("cpu"))
    policy = model.log_likelihood(batch.prompts, batch.latents)
    return dpo(policy, batch, DpoOptions(beta=BETA)).mean()


def test_loss_and_gradients_are_trls(written: Path, tmp_path: Path) -> None:
    """Our grouped pairs of images give TRL's loss and gradient where ends of rows are masked."""
    data = preferences()
    model, reference = tiny(written, judge="self"), tiny(written, judge="self")
    new_adapter(model, rank=4, alpha=8, seed=0)
    parameters = trainable_parameters(model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    loss = silmm_losses(model, reference, data)
    own = torch.autograd.grad(loss, list(parameters.values()))
    assert abs(float(loss) - math.log(2)) > 0.01

    trainer = trl_trainer(with_codes_first(model), with_codes_first(reference), tmp_path)
    batch = trainer.data_collator([row(model, p, pair) for p in data for pair in p.pairs])
    # TRL would count ends of rows, which nobody chooses, as if the model had sampled them
    batch["completion_mask"] = batch["completion_mask"] * (batch["input_ids"] < CODES)
    trainer.model.eval()
    expected = trainer._compute_loss(trainer.model, batch, return_outputs=False)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    for a, b in zip(own, torch.autograd.grad(expected, list(parameters.values())), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
