"""The losses against an independent implementation: TRL's own DPO trainer on the same pairs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from silmm_plugins.training.dpo import DpoOptions, dpo
from silmm_plugins.training.objectives import preference_data

from silmm.contracts.models import Preference
from silmm.lora.adapters import new_adapter, trainable_parameters
from tests.plugins.training.preferences import preferences
from tests.toy.tiny_random import LENGTH, VOCABULARY, WORDS, TinyRandom, random_backbone

trl = pytest.importorskip("trl", reason="TRL is not installed")
datasets = pytest.importorskip("datasets", reason="datasets is not installed")

# TRL and transformers warn of their own coming changes; they are not ours to mend
pytestmark = pytest.mark.filterwarnings("ignore")
BETA = 0.2
PAD = "<pad>"


class WholeVocabulary(TinyRandom):
    """Normalises over the whole vocabulary, as TRL does, instead of over what may be sampled."""

    def log_likelihood(self, prompts: list[str], latents: list[Any]) -> torch.Tensor:
        """Return log pi(z|x), shape (batch,), one sequence at a time, without any padding."""
        values = []
        for prompt, z in zip(prompts, latents, strict=True):
            codes = [int(code) + len(WORDS) for code in z]
            ids = torch.tensor([self.encode(prompt) + codes])
            logs = self.backbone(ids).logits[0, -LENGTH - 1 : -1].log_softmax(-1)
            values.append(logs.gather(-1, torch.tensor(codes).unsqueeze(-1)).sum())
        return torch.stack(values)


def row(model: TinyRandom, preference: Preference, pair: tuple[int, int]) -> dict[str, list[int]]:
    """Return a pair as TRL's collator takes it."""
    chosen, rejected = ([int(c) + len(WORDS) for c in preference.latents[i]] for i in pair)
    return {
        "prompt_ids": model.encode(preference.prompt),
        "chosen_ids": chosen,
        "rejected_ids": rejected,
    }


def trl_trainer(policy: torch.nn.Module, reference: torch.nn.Module, folder: Path, **settings: Any) -> Any:
    """Return a real DPOTrainer on the two models; its dataset is only there to build it."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = {
        **{word: i for i, word in enumerate(WORDS)},
        **{f"code{i}": len(WORDS) + i for i in range(VOCABULARY - len(WORDS))},
    }
    plain = Tokenizer(models.WordLevel(names, unk_token=PAD))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token=PAD, eos_token=PAD)
    rows = [{"prompt": "a red circle", "chosen": " code1", "rejected": " code2"}]
    arguments = trl.DPOConfig(
        output_dir=str(folder),
        beta=BETA,
        report_to="none",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        **settings,
    )
    return trl.DPOTrainer(
        model=policy,
        ref_model=reference,
        args=arguments,
        processing_class=tokenizer,
        train_dataset=datasets.Dataset.from_list(rows),
    )


def ours(model: TinyRandom, reference: TinyRandom, data: list[Preference], nll: float) -> torch.Tensor:
    """Return our mean loss over all pairs, grouped by prompt."""
    stored = []
    for p in data:
        with torch.no_grad():
            stored.append(reference.log_likelihood([p.prompt] * len(p.latents), list(p.latents)))
    batch = preference_data.collate(data, stored, torch.device("cpu"))
    policy = model.log_likelihood(batch.prompts, batch.latents)
    return dpo(policy, batch, DpoOptions(beta=BETA, nll_weight=nll)).mean()


@pytest.mark.parametrize("nll", [0.0, 5.0])
def test_loss_and_gradients_are_trls(tmp_path: Path, nll: float) -> None:
    """Grouped pairs give TRL's loss and gradient, with and without the likelihood term.

    TRL's `sft` loss beside `sigmoid`, weighted, is our `nll` term: all z have one length here.
    """
    data = preferences(4, k=2)
    model, reference = WholeVocabulary(), WholeVocabulary()
    new_adapter(model, rank=4, alpha=8, seed=0)
    parameters = trainable_parameters(model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.add_(0.6 * torch.randn(parameter.shape, generator=generator))
    loss = ours(model, reference, data, nll)
    mine = torch.autograd.grad(loss, list(parameters.values()))
    assert abs(float(loss) - math.log(2)) > 0.01

    terms = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, nll]} if nll else {}
    trainer = trl_trainer(model.backbone, random_backbone(), tmp_path, **terms)
    collator = trainer.data_collator
    batch = collator([row(model, p, pair) for p in data for pair in p.pairs])
    model.backbone.eval()
    theirs = trainer._compute_loss(trainer.model, batch, return_outputs=False)
    assert float(loss) == pytest.approx(float(theirs), rel=1e-5)
    for a, b in zip(mine, torch.autograd.grad(theirs, list(parameters.values())), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
