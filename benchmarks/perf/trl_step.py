"""A DPO step of ours against TRL's DPOTrainer: same stock Llama, adapter, pairs, loss and gradients."""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from silmm_plugins.models.tiny.vocabulary import CONTROL
from silmm_plugins.models.tiny_discrete.model import TinyDiscrete
from silmm_plugins.training.lora.lora_training import Training

from benchmarks.perf import dpo_steps, measure, workload
from silmm.contracts.models import Latent, Preference

CASES = ((8, 1), (8, 2), (8, 3))
"""(prompts, k)."""
BETA = 0.2
PAD, END = "<pad>", "<eos>"


class StockLlama(TinyDiscrete):
    """The same network as TRL can drive it: token ids in, no grid embeddings, softmax over all tokens."""

    def sequence(self, prompt: str) -> list[int]:
        """Return the ids before the image codes."""
        return [*self.prompt_ids(prompt), self.vocabulary.boi]

    def image_ids(self, z: Latent) -> list[int]:
        """Return a candidate's token ids."""
        return [int(code) + self.language_model.first_code for code in z]

    def log_likelihood(self, prompts: Sequence[str], latents: Sequence[Latent]) -> torch.Tensor:
        """Return log pi(z | x), shape (batch,), padded on the right, normalised over the vocabulary."""
        heads = [self.sequence(p) for p in prompts]
        codes = torch.tensor([self.image_ids(z) for z in latents])
        rows = [torch.tensor(h + c) for h, c in zip(heads, codes.tolist(), strict=True)]
        pad = torch.nn.utils.rnn.pad_sequence
        ids = pad(rows, batch_first=True, padding_value=self.vocabulary.pad)
        mask = pad([torch.ones_like(row) for row in rows], batch_first=True)
        network: Any = self.backbone
        states = network.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        before = torch.tensor([len(h) for h in heads])[:, None] + torch.arange(codes.shape[1]) - 1
        picked = states[torch.arange(len(rows))[:, None], before]
        logs: torch.Tensor = network.lm_head(picked).float().log_softmax(-1)
        return logs.gather(-1, codes[..., None]).squeeze(-1).sum(-1)


def trl_trainer(backbone: torch.nn.Module, base: torch.nn.Module, names: Sequence[str], folder: str) -> Any:
    """Return TRL's trainer on a stock model, `base` its reference; its dataset only builds it.

    Args:
        backbone: with the adapter on.
        base: without.
        names: of the tokens, in the order of their ids; :data:`PAD` and :data:`END` are among them.
        folder: for what TRL writes.
    """
    import datasets
    import trl
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token=PAD))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    prompt, chosen, rejected = names[-3:]
    return trl.DPOTrainer(
        model=backbone,
        ref_model=base,
        args=trl.DPOConfig(
            output_dir=folder,
            beta=BETA,
            report_to="none",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
        ),
        processing_class=PreTrainedTokenizerFast(tokenizer_object=words, pad_token=PAD, eos_token=END),
        train_dataset=datasets.Dataset.from_list(
            [{"prompt": prompt, "chosen": f" {chosen}", "rejected": f" {rejected}"}]
        ),
    )


def token_names(model: StockLlama) -> list[str]:
    """Return the names of the tokens, in the order of their ids."""
    codes = [f"code{i}" for i in range(model.language_model.codes)]
    return [*CONTROL, *model.vocabulary.words, *codes]


def trl_rows(model: StockLlama, training: Training) -> list[dict[str, Any]]:
    """Return every pair as TRL's collator takes it, with its reference values."""
    return [
        {
            "prompt_ids": model.sequence(p.prompt),
            "chosen_ids": model.image_ids(p.latents[chosen]),
            "rejected_ids": model.image_ids(p.latents[rejected]),
            "ref_chosen_logps": float(reference[chosen]),
            "ref_rejected_logps": float(reference[rejected]),
        }
        for p, reference in zip(training.job.preferences, dpo_steps.likelihoods(training).reference, strict=True)
        for chosen, rejected in p.pairs
    ]


def trl_step(trainer: Any, rows: Sequence[dict[str, Any]], training: Training, *, stored: bool) -> None:
    """Take one optimizer step with TRL's own loss, in micro-batches of as many sequences as ours.

    The optimizer, and with it all that follows the gradient, is the same object in both ways.
    """
    trainer.precompute_ref_logps = stored
    training.optimizer.zero_grad(set_to_none=False)
    size = dpo_steps.MICRO_BATCH // 2
    for start in range(0, len(rows), size):
        part = list(rows[start : start + size])
        batch = trainer.data_collator(part)
        loss = trainer._compute_loss(trainer.model, batch, return_outputs=False)
        torch.autograd.backward(loss * (len(part) / len(rows)))
    torch.nn.utils.clip_grad_norm_(training.parameters.values(), float("inf"))
    training.optimizer.step()


def compare(
    model: StockLlama, trainer: Any, preferences: Sequence[Preference], k: int, repeats: int
) -> measure.Comparison:
    """Check that the gradients agree, then time the steps on the same pairs."""
    training = dpo_steps.prepare(model, preferences, BETA)
    rows = trl_rows(model, training)

    def trl_step(stored: bool) -> Callable[[], None]:
        return lambda: trl_step(trainer, rows, training, stored=stored)

    dpo_steps.step(training)
    expected = dpo_steps.gradients(training)
    for stored in (True, False):
        trl_step(stored)()
        dpo_steps.check_same_gradients(expected, dpo_steps.gradients(training))
    seconds = measure.interleaved(
        {
            measure.OURS: lambda: dpo_steps.step(training),
            "TRL, reference stored": trl_step(True),
            "TRL, reference each time": trl_step(False),
        },
        repeats,
    )
    return measure.Comparison(f"{len(preferences)} prompts, {k}×{k} = {len(rows)} pairs", len(rows), seconds)


def main() -> None:
    """Print the table."""
    options = measure.arguments(__doc__ or "", repeats=5)
    warnings.simplefilter("ignore")  # TRL and transformers warn of their own coming changes
    sampling_model, weights = workload.load_model()
    cases = [(workload.preferences(sampling_model, prompts, k), k) for prompts, k in CASES]
    model = StockLlama(sampling_model.language_model, sampling_model.tokenizer)
    base = copy.deepcopy(model.backbone)
    dpo_steps.attach_adapter(model)
    with tempfile.TemporaryDirectory() as folder:
        trainer = trl_trainer(model.backbone, base, token_names(model), folder)
        model.backbone.eval()
        rows = [compare(model, trainer, data, k, options.repeats) for data, k in cases]
    measure.publish("trl_step", "pairs", weights, rows)


if __name__ == "__main__":
    main()
