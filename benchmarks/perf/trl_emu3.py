"""A DPO step of ours on Emu3's images against TRL's DPOTrainer: same stock class, pairs and gradients."""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import torch
from silmm_plugins.models.emu3 import grammar
from silmm_plugins.models.emu3.language_model import Emu3LM
from silmm_plugins.training.lora.lora_training import Training
from torch import Tensor

from benchmarks.perf import dpo_steps, measure, trl_step
from benchmarks.perf.emu3_random import RandomEmu3, Sizes

CASES = (1, 2, 3)
"""k."""
PROMPTS = ("a cat", "a photo of a red cube on the left of a blue sphere, and three green pears on a table")
SIZES = Sizes(
    hidden=256, layers=6, heads=8, kv_heads=2, mlp=896, texts=640, codes=4096, side=16
)  # fmt: skip
"""Emu3's proportions at a sixteenth of its width: 4 heads a key head, and a head that is a fifth of all."""


class WholeVocabulary(Emu3LM):
    """The shipped language model with TRL's softmax: over all tokens, at the codes' places."""

    def _chunk(self, states: Tensor, codes: Tensor) -> Tensor:
        logits = self.logits(states)
        chosen = logits.gather(-1, codes[:, None] + self.tokens.visual).squeeze(-1)
        return chosen - logits.logsumexp(-1)


def rows_of(model: RandomEmu3, training: Training) -> list[dict[str, Any]]:
    """Return every pair as TRL's collator takes it, with its reference values."""
    likelihoods = dpo_steps.likelihoods(training)

    def image(latent: Any) -> list[int]:
        return grammar.body(model.tokens, model.image(latent))[:-1]

    return [
        {
            "prompt_ids": model.prefix(p.prompt),
            "chosen_ids": image(p.latents[chosen]),
            "rejected_ids": image(p.latents[rejected]),
            "ref_chosen_logps": float(reference[chosen]),
            "ref_rejected_logps": float(reference[rejected]),
        }
        for p, reference in zip(training.job.preferences, likelihoods.reference, strict=True)
        for chosen, rejected in p.pairs
    ]


def trl_trainer(model: RandomEmu3, base: torch.nn.Module, folder: str) -> Any:
    """Return TRL's trainer; it counts the codes alone, not the ends of rows, which nobody samples."""
    own, sizes = model.tokens, model.sizes
    control = {own.pad: trl_step.PAD, own.eos: trl_step.END}
    names = [control.get(i, f"token{i}") for i in range(own.visual + sizes.codes)]
    trainer = trl_step.trl_trainer(model.backbone, base, names, folder)
    collate = trainer.data_collator

    def codes_alone(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        batch: dict[str, Tensor] = collate(rows)
        batch["completion_mask"] = batch["completion_mask"] * (batch["input_ids"] >= own.visual)
        return batch

    trainer.data_collator = codes_alone
    return trainer


def compare(model: RandomEmu3, trainer: Any, k: int, repeats: int) -> measure.Comparison:
    """Check that the gradients agree where the softmax does, then time the steps on the same pairs."""
    preferences = model.preferences(PROMPTS, k)
    shipped = model.policy
    model.policy = WholeVocabulary(model.backbone, model.tokens, head_chunk=1024)
    whole, training = model.policy, dpo_steps.prepare(model, preferences, trl_step.BETA)
    rows = rows_of(model, training)
    model.policy = shipped
    of_codes = dpo_steps.prepare(model, preferences, trl_step.BETA)

    def ours(policy: Emu3LM, own: Training) -> None:
        model.policy = policy
        dpo_steps.step(own)

    def theirs(stored: bool) -> Callable[[], None]:
        return lambda: trl_step.trl_step(trainer, rows, training, stored=stored)

    ours(whole, training)
    expected = dpo_steps.gradients(training)
    for stored in (True, False):
        theirs(stored)()
        dpo_steps.check_same_gradients(expected, dpo_steps.gradients(training))
    seconds = measure.interleaved(
        {
            measure.OURS: lambda: ours(whole, training),
            "ours, softmax over the codes": lambda: ours(shipped, of_codes),
            "TRL, reference stored": theirs(True),
            "TRL, reference each time": theirs(False),
        },
        repeats,
    )
    return measure.Comparison(f"{len(preferences)} prompts, {k}×{k} = {len(rows)} pairs", len(rows), seconds)


def main() -> None:
    """Print the table."""
    options = measure.arguments(__doc__ or "", repeats=3)
    warnings.simplefilter("ignore")  # TRL and transformers warn of their own coming changes
    model = RandomEmu3(SIZES)
    base = copy.deepcopy(model.backbone)
    dpo_steps.attach_adapter(model)
    with tempfile.TemporaryDirectory() as folder:
        trainer = trl_trainer(model, base, folder)
        model.backbone.eval()
        rows = [compare(model, trainer, k, options.repeats) for k in CASES]
    measure.publish("trl_emu3", "pairs", "random", rows)


if __name__ == "__main__":
    main()
