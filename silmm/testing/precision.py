"""How far bfloat16 autocast, in which trainers may run, is from float32."""

from __future__ import annotations

import numpy as np
import torch

from silmm.contracts.models import BaseModel
from silmm.testing.cases import Cases, Nonconformance, array, sampled, trained_value


@torch.no_grad()
def check_bf16(model: BaseModel, cases: Cases) -> float:
    """Check the model's value under bfloat16 autocast against its own precision.

    Returns:
        The largest difference: nats a token for likelihoods, a share of the norm of H for features.
    """
    latents = sampled(model, cases)
    exact = array(trained_value(model, cases.prompts, latents))
    device = next(model.backbone.parameters()).device
    with torch.autocast(device.type, torch.bfloat16):
        rough = array(trained_value(model, cases.prompts, latents).float())
    if not np.isfinite(rough).all():
        raise Nonconformance("bfloat16: there are numbers that are not finite")
    if model.kind == "discrete":
        sizes = np.array([z.size for z in latents])
        worst, unit = float((np.abs(rough - exact) / sizes).max()), "nats a token"
    else:
        axes = (1, 2)
        shares = np.linalg.norm(rough - exact, axis=axes) / np.linalg.norm(exact, axis=axes)
        worst, unit = float(shares.max()), "of the norm of H"
    if worst > cases.bf16:
        raise Nonconformance(f"bfloat16: off by {worst:.3g} {unit}, allowed {cases.bf16:g}")
    return worst
