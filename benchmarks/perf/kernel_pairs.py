"""A KC-DPO step on k×k pairs a prompt: one forward pass and a stored reference, against pair by pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from silmm_benchmarks.shapes.language import VOCABULARY
from silmm_plugins.kernels.kernels import avgpool, one_minus_cosine
from silmm_plugins.models._shared.mlp_dropout import MlpDropoutOptions, mlp_dropout
from silmm_plugins.models.tiny.vocabulary import Vocabulary
from silmm_plugins.models.tiny_continuous.decoder import TinyDecoder
from silmm_plugins.models.tiny_continuous.language_model import TinyContinuousLM
from silmm_plugins.models.tiny_continuous.model import TinyContinuous
from silmm_plugins.training.kc_dpo import KcDpo, KcDpoOptions
from silmm_plugins.training.lora.lora_training import Training
from silmm_plugins.training.losses import kc_dpo_loss
from silmm_plugins.training.objectives import preference_data
from silmm_plugins.training.objectives.distance_objective import DistanceObjective, typical_distance
from silmm_plugins.training.objectives.reference_features import policy_features

from benchmarks.perf import dpo_steps, measure, workload
from silmm.contracts.models import BaseModel, Preference
from silmm.registry.kernels import ComposedKernel

CASES = ((8, 1), (8, 3), (1, 10), (4, 10))
"""(prompts, k)."""
KERNEL = ComposedKernel(avgpool, one_minus_cosine)
ANCHOR = 0.5


@dataclass(frozen=True)
class Pairs:
    """Every pair by itself: its prompt and its own two candidates, (pairs, L, D) each."""

    prompts: Sequence[str]
    chosen: torch.Tensor
    rejected: torch.Tensor


def random_model(*, hidden: int, layers: int, heads: int, mlp: int, queries: int) -> TinyContinuous:
    """Return a model of `tiny-continuous`' architecture with random weights of a fixed seed.

    What a step costs does not depend on the weights. The decoder is as small as can be: training does
    not meet it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(workload.SEED)
        network = TinyContinuousLM(
            Vocabulary(tuple(VOCABULARY)), hidden, layers, heads, mlp, queries=queries, patch_mlp=hidden
        )
        decoder = TinyDecoder(hidden, 8, 1, 1, codes=2, noise_slots=1, noise_levels=2)
    return TinyContinuous(network, decoder)


def preferences(model: TinyContinuous, count: int, k: int) -> list[Preference]:
    """Return top-k × last-k preferences on candidates that the model sampled under dropout."""
    pairs = tuple((c, k + r) for c in range(k) for r in range(k))
    made = []
    for index, text in enumerate(workload.prompts(count)):
        seeds = range(2 * k * index, 2 * k * (index + 1))
        with torch.no_grad(), mlp_dropout(model, seeds, MlpDropoutOptions(), len(model.query_embeddings())):
            sampled = model.features([text] * (2 * k)).numpy()
        made.append(Preference(text, tuple(sampled), pairs))
    return made


def prepare(model: TinyContinuous, data: Sequence[Preference]) -> Training:
    """Return a training of trainer `kc-dpo` on these preferences, its reference computed."""
    gamma = 3.0 / typical_distance(KERNEL, data)
    options = KcDpoOptions(
        gamma=gamma,
        chosen_weight=ANCHOR,
        learning_rate=dpo_steps.UNMOVED,
        grad_clip=0.0,
        warmup_steps=0,
        batch_size=sum(len(p.pairs) for p in data),
        gradient_accumulation_steps=1,
    )
    objective = DistanceObjective(
        model, data, preference_data.pair_weights(data, "none"), options.batch_size, options.precision,
        reference(model, data), KERNEL, KcDpo(options, KERNEL).loss, gamma, options.warn_rise,
    )
    return dpo_steps.training_of(model, data, objective, options)


@torch.no_grad()
def reference(model: BaseModel, data: Sequence[Preference]) -> list[torch.Tensor]:
    """Return H_r of each prompt by the disabled adapter."""
    with dpo_steps.disabled_adapter(model):
        return list(policy_features(model, [p.prompt for p in data], "fp32"))


def distances(training: Training) -> DistanceObjective:
    """Return the objective of a training that :func:`prepare` made."""
    return cast(DistanceObjective, training.objective)


def pair_by_pair(data: Sequence[Preference]) -> Pairs:
    """Return the same pairs ungrouped."""
    rows = [(p, c, r) for p in data for c, r in p.pairs]
    sides = (np.stack([p.latents[pair[i]] for p, *pair in rows]) for i in (0, 1))
    return Pairs([p.prompt for p, _, _ in rows], *map(torch.from_numpy, sides))


def grouped_step(training: Training, *, stored: bool) -> None:
    """Take a step of the shipped loop; without a store, compute the reference first."""
    if not stored:
        old = distances(training)
        training = replace(
            training, objective=replace(old, reference=reference(old.model, training.job.preferences))
        )
    dpo_steps.step(training)


def pair_step(training: Training, pairs: Pairs, known: torch.Tensor | None) -> None:
    """Take a step in which each pair brings its own forward pass of the policy and of the reference.

    As many rows at once as the other comparisons take, all kernels of a micro-batch in one call, and the
    very same optimizer. With `known`, the H_r of each pair, the reference is not run.
    """
    model, gamma, total = distances(training).model, distances(training).gamma, len(pairs.prompts)
    training.optimizer.zero_grad(set_to_none=False)
    parts = [slice(i, i + dpo_steps.MICRO_BATCH) for i in range(0, total, dpo_steps.MICRO_BATCH)]
    if known is None:
        with torch.no_grad(), dpo_steps.disabled_adapter(model):
            known = torch.cat([policy_features(model, pairs.prompts[part], "fp32") for part in parts])
    for part in parts:
        h, h_r = policy_features(model, pairs.prompts[part], "fp32"), known[part]
        chosen, rejected = pairs.chosen[part], pairs.rejected[part]
        near = KERNEL(h, chosen)
        margins = -near + KERNEL(h_r, chosen) + KERNEL(h, rejected) - KERNEL(h_r, rejected)
        torch.autograd.backward(kc_dpo_loss(margins, near, gamma, ANCHOR).sum() / total)
    torch.nn.utils.clip_grad_norm_(training.parameters.values(), float("inf"))
    training.optimizer.step()


def compare(model: TinyContinuous, prompts: int, k: int, repeats: int) -> measure.Comparison:
    """Check that all ways give the same gradients, then time them on the same pairs."""
    data = preferences(model, prompts, k)
    training, pairs = prepare(model, data), pair_by_pair(data)
    known = torch.cat([h.expand(k * k, -1, -1) for h in reference(model, data)])
    ways: dict[str, Callable[[], None]] = {
        measure.OURS: lambda: grouped_step(training, stored=True),
        "ours, reference not yet stored": lambda: grouped_step(training, stored=False),
        "pair by pair, reference stored": lambda: pair_step(training, pairs, known),
        "pair by pair, reference each time": lambda: pair_step(training, pairs, None),
    }
    found = []
    for way in ways.values():
        way()
        found.append(dpo_steps.gradients(training))
        dpo_steps.check_same_gradients(found[0], found[-1])
    count = prompts * k * k
    seconds = measure.interleaved(ways, repeats)
    return measure.Comparison(
        f"{prompts} prompt{'s' if prompts > 1 else ''}, {k}×{k} = {count} pairs", count, seconds
    )


def main() -> None:
    """Print the table."""
    options = measure.arguments(__doc__ or "", repeats=5)
    model = random_model(hidden=160, layers=6, heads=4, mlp=448, queries=16)
    dpo_steps.attach_adapter(model)
    rows = [compare(model, prompts, k, options.repeats) for prompts, k in CASES]
    measure.publish("kernel_pairs", "pairs", "random", rows)


if __name__ == "__main__":
    main()
