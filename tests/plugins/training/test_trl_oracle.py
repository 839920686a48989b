"""The losses against an independent implementation: TRL's own DPO trainer on the same pairs."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from silmm_plugins.training import losses
from silmm_plugins.training.dpo import DpoOptions, dpo
from silmm_plugins.training.grpo import Grpo, GrpoOptions
from silmm_plugins.training.ipo import IpoOptions, ipo
from silmm_plugins.training.objectives import preference_data
from silmm_plugins.training.objectives.rollout_objective import RolloutBatch

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


def silmm_losses(model: TinyRandom, reference: TinyRandom, data: list[Preference], nll: float) -> torch.Tensor:
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
    loss = silmm_losses(model, reference, data, nll)
    own = torch.autograd.grad(loss, list(parameters.values()))
    assert abs(float(loss) - math.log(2)) > 0.01

    terms = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, nll]} if nll else {}
    trainer = trl_trainer(model.backbone, random_backbone(), tmp_path, **terms)
    collator = trainer.data_collator
    batch = collator([row(model, p, pair) for p in data for pair in p.pairs])
    model.backbone.eval()
    expected = trainer._compute_loss(trainer.model, batch, return_outputs=False)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    for a, b in zip(own, torch.autograd.grad(expected, list(parameters.values())), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_ipo_is_trls(tmp_path: Path) -> None:
    """TRL takes means over the tokens: its loss at beta is ours at tau = beta / tokens, over the tokens squared."""
    data = preferences(3, k=2)
    model, reference = WholeVocabulary(), WholeVocabulary()
    new_adapter(model, rank=4, alpha=8, seed=0)
    with torch.no_grad():
        for parameter in trainable_parameters(model).values():
            parameter.add_(0.1)
        stored = [reference.log_likelihood([p.prompt] * len(p.latents), list(p.latents)) for p in data]
        batch = preference_data.collate(data, stored, torch.device("cpu"))
        policy = model.log_likelihood(batch.prompts, batch.latents)
    loss = ipo(policy, batch, IpoOptions(tau=BETA / LENGTH)).mean() / LENGTH**2
    trainer = trl_trainer(model.backbone, random_backbone(), tmp_path, loss_type=["ipo"])
    rows = trainer.data_collator([row(model, p, pair) for p in data for pair in p.pairs])
    expected = trainer._compute_loss(trainer.model.eval(), rows, return_outputs=False)
    assert float(loss) == pytest.approx(float(expected), rel=1e-4)


def test_simpo_is_trls() -> None:
    """The loss of TRL's CPO trainer with loss_type simpo, on the same mean log-likelihoods."""
    from trl.experimental.cpo import CPOTrainer

    chosen, rejected = torch.randn(2, 7, generator=torch.Generator().manual_seed(0))
    settings = {"loss_type": "simpo", "beta": 2.0, "simpo_gamma": 0.7, "label_smoothing": 0.0, "alpha": 0.0}
    trainer = SimpleNamespace(**settings, accelerator=SimpleNamespace(device="cpu"))
    expected = CPOTrainer.cpo_loss(trainer, chosen, rejected)[0]
    torch.testing.assert_close(losses.simpo_loss(chosen, rejected, 2.0, 0.7), expected)


@pytest.mark.parametrize("kl_weight", [0.0, 0.3])
def test_grpo_is_trls(kl_weight: float) -> None:
    """Loss and gradient of TRL's GRPO trainer on the same likelihoods and advantages, in and out of the clip."""
    generator = torch.Generator().manual_seed(0)
    sampled, reference = -torch.rand(2, 6, 5, generator=generator)
    policy = (sampled + 0.4 * torch.randn(6, 5, generator=generator)).requires_grad_()
    scores = torch.randn(2, 3, generator=generator)
    batch = RolloutBatch(sampled, reference, list(scores))
    loss = Grpo(GrpoOptions(kl_weight=kl_weight)).loss(policy, batch).mean()

    settings = {"beta": kl_weight, "loss_type": "grpo", "importance_sampling_level": "token", "epsilon_low": 0.2,
                "epsilon_high": 0.2, "top_entropy_quantile": 1.0, "off_policy_mask_threshold": None,
                "aux_loss_enabled": False, "use_vllm": False, "_entropy_bonus_enabled": False}  # fmt: skip
    trainer = MagicMock(**settings, args=SimpleNamespace(delta=None, use_bias_correction_kl=False))
    trainer.model.training = False
    trainer.accelerator.reduce = lambda value, reduction: value
    trainer.accelerator.gather = lambda value: value
    trainer._get_per_token_logps_and_entropies = lambda *_, **__: (policy, torch.zeros(6, 5), None)
    ids = torch.zeros(6, 5, dtype=torch.long)
    advantages = torch.cat([(s - s.mean()) / (s.std() + 1e-4) for s in scores])
    expected = trl.GRPOTrainer._compute_loss(trainer, None, {
        "prompt_ids": ids, "prompt_mask": ids + 1, "completion_ids": ids, "completion_mask": ids + 1,
        "advantages": advantages, "old_per_token_logps": sampled, "ref_per_token_logps": reference,
    })  # fmt: skip
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    gradients = [torch.autograd.grad(value, [policy], retain_graph=True)[0] for value in (loss, expected)]
    torch.testing.assert_close(*gradients)
