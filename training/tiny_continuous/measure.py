"""Measure the shipped model: ``python -m training.tiny_continuous.measure OUT.json --work DIR``.

What the model's page says is what this prints: VQA accuracy on clean renders of fresh scenes,
decompositions and written prompts, alignment of its samples on the tune prompts, what there is to win by
better features (the headroom), and what the decoder can do behind the strong backbone of the work directory.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from silmm_benchmarks.shapes.exact_judge import ExactJudge
from silmm_benchmarks.shapes.language import CATEGORIES, caption, parse_caption
from silmm_benchmarks.shapes.splits import EvalPrompt, training_spec, tune_prompts
from silmm_plugins.models.tiny_continuous.model import TinyContinuous
from silmm_plugins.models.tiny_continuous.options import DEFAULTS, WEIGHTS
from silmm_plugins.sampling.continuous import DropDiv, DropDivOptions

from silmm.contracts.models import ChatRequest, Latent, SamplingParams
from silmm.seeds import derive
from training.tiny_discrete.measure import answering, decomposing, writing

NOISES, CANDIDATES = 4, 10


def sampler() -> DropDiv:
    """Return the sampler with the model's own presets."""
    prefix = "sampler/dropdiv."
    presets = {key.removeprefix(prefix): value for key, value in DEFAULTS.items() if key.startswith(prefix)}
    return DropDiv(DropDivOptions.model_validate(presets))


def facts(
    model: TinyContinuous, prompts: list[EvalPrompt], latents: list[Latent], noise: str
) -> NDArray[np.float64]:
    """Return the share of facts right of each H, mean over NOISES images; equal noise for equal prompts."""
    judge, shares = ExactJudge(), np.zeros(len(prompts))
    for view in range(NOISES):
        images = model.decode(latents, [derive(5, noise, p.text, view) for p in prompts])
        verdicts = judge.facts(np.stack(images), [p.spec for p in prompts])
        shares += np.array([v.mean() for v in verdicts]) / NOISES
    return shares


def sampling(model: TinyContinuous, prompts: list[EvalPrompt]) -> dict[str, Any]:
    """Return facts right of H(x), overall and by category."""
    latents = model.represent([p.text for p in prompts], [0] * len(prompts), SamplingParams())
    shares = facts(model, prompts, latents, "plain")
    by = {c: shares[[p.category == c for p in prompts]] for c in CATEGORIES}
    return {
        "facts": round(float(shares.mean()), 4),
        "categories": {c: round(float(v.mean()), 4) for c, v in by.items() if len(v)},
    }


def headroom(model: TinyContinuous) -> dict[str, float]:
    """Return what CANDIDATES candidates of the default sampler hold, on the tune prompts.

    "mean" is over all of them; "best H, fresh noise" takes the candidate whose H is best over NOISES noises
    and scores it over NOISES others; "best image" is the best under one noise, luck of the noise included.
    """
    prompts = [p for p in tune_prompts() for _ in range(CANDIDATES)]
    seeds = [derive(5, p.text, n % CANDIDATES) for n, p in enumerate(prompts)]
    latents = [item.latent for item in sampler().sample(model, [p.text for p in prompts], seeds)]
    first = facts(model, prompts, latents, "first").reshape(-1, CANDIDATES)
    fresh = facts(model, prompts, latents, "fresh").reshape(-1, CANDIDATES)
    images = model.decode(latents, [derive(5, "one", p.text) for p in prompts])
    verdicts = ExactJudge().facts(np.stack(images), [p.spec for p in prompts])
    single = np.array([v.mean() for v in verdicts]).reshape(-1, CANDIDATES)
    figures = {
        "mean": fresh.mean(),
        "best H, fresh noise": fresh[np.arange(len(fresh)), first.argmax(1)].mean(),
        "best image": single.max(1).mean(),
    }
    return {name: round(float(value), 4) for name, value in figures.items()}


def rewriting(model: TinyContinuous, each: int = 20) -> dict[str, float]:
    """Return the share of rewritten training-split prompts that the grammar accepts, by task."""
    rng = np.random.default_rng(78)
    texts = [caption(training_spec(rng, c), rng) for c in CATEGORIES for _ in range(each)]
    return {
        task: round(float(np.mean([
            _valid(reply) for reply in model.chat(
                [ChatRequest(task, text, temperature=0.7, seed=n) for n, text in enumerate(texts)]
            )
        ])), 4)
        for task in ("rephrase", "explain")
    }  # fmt: skip


def _valid(text: str) -> bool:
    try:
        parse_caption(text)
    except ValueError:
        return False
    return True


def teacher(model: TinyContinuous, work: Path) -> dict[str, Any]:
    """Return what the decoder decodes behind the strong backbone: held-out and fresh training captions."""
    tensors = load_file(work / "strong" / "last.safetensors")
    weights = {k.removeprefix("model.model."): v for k, v in tensors.items() if k.startswith("model.model.")}
    model.language_model.load_state_dict(weights, strict=False)
    rng = np.random.default_rng(79)
    specs = [(c, training_spec(rng, c)) for c in CATEGORIES for _ in range(40)]
    fresh = [EvalPrompt(caption(spec, rng), c, spec) for c, spec in specs]
    return {"tune prompts": sampling(model, tune_prompts()), "training captions": sampling(model, fresh)}


def main() -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="another folder than the shipped one")
    parser.add_argument("--work", type=Path, help="work directory of the training, for the decoder's teacher")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = TinyContinuous.load(args.weights)
    card = args.weights / "sha256.json"
    result = {
        "weights": hashlib.sha256(card.read_bytes()).hexdigest(),
        "VQA accuracy": answering(model),
        "sampling on the tune prompts": sampling(model, tune_prompts()),
        "headroom on the tune prompts, ten candidates": headroom(model),
        "decompositions exactly right": decomposing(model),
        "self-written prompts valid": writing(model),
        "rewritten prompts valid": rewriting(model),
        "parameters": {
            "language model": sum(p.numel() for p in model.language_model.parameters()),
            "decoder": sum(p.numel() for p in model.decoder.parameters()),
        },
    }
    if args.work:
        result["decoder behind its teacher"] = teacher(TinyContinuous.load(args.weights), args.work)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
