"""Adapters are plain PEFT folders: what silmm saves peft loads, what peft saves silmm loads."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from peft import PeftModel

from silmm.contracts.models import BaseModel
from silmm.lora.adapters import save_adapter
from silmm.lora.loading import load_adapter
from silmm.testing.cases import Cases, Nonconformance, array, compare, sampled, trained_value
from silmm.testing.training import tuned_adapter


@torch.no_grad()
def check_adapter_round_trip(make: Callable[[], BaseModel], cases: Cases, folder: Path) -> float:
    """Check that a saved adapter gives the same values through peft, back again, and on and off.

    Args:
        make: returns a fresh model each time, with the same weights.
        cases: what is computed.
        folder: an empty folder for two adapters.
    """
    model = make()
    latents = sampled(model, cases)
    base = array(trained_value(model, cases.prompts, latents))
    with tuned_adapter(model):
        expected = array(trained_value(model, cases.prompts, latents))
        save_adapter(model, folder / "silmm")
    if (abs(expected - base) < 10 * cases.tolerance).all():
        raise Nonconformance("adapter: LoRA weights that are not 0 leave the value as it is")
    plain = make()
    with warnings.catch_warnings():  # peft and transformers disagree on names that neither of us uses
        warnings.simplefilter("ignore", (FutureWarning))
        warnings.simplefilter("ignore", UserWarning)
        wrapped = PeftModel.from_pretrained(plain.backbone, str(folder / "silmm")).eval()
        wrapped.save_pretrained(str(folder / "peft"), save_embedding_layers=False)
    values = array(trained_value(plain, cases.prompts, latents))
    worst = compare(values, expected, cases.tolerance, "adapter: plain peft gives the tuned model's values")
    again = make()
    load_adapter(again, folder / "peft")
    values = array(trained_value(again, cases.prompts, latents))
    promise = "adapter: a folder that plain peft saved gives the tuned model's values"
    worst = max(worst, compare(values, expected, cases.tolerance, promise))
    load_adapter(again, None)
    values = array(trained_value(again, cases.prompts, latents))
    compare(values, base, 0.0, "adapter: without it the model is the base again, bit for bit")
    return worst
