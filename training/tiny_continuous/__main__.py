"""Make `tiny-continuous`: ``python -m training.tiny_continuous --work DIR [--out DIR]``.

It starts from the shipped weights of `tiny-discrete` (words, transformer, codebook), which have a script of
their own. Four steps, each kept in the work directory and resumed after a kill: pools of scenes, the decoder
behind a strong backbone, the backbone that ships, export of the weights. A work directory belongs to one
recipe. The model's card states the cost.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from silmm_plugins.models.tiny_discrete.model import TinyDiscrete
from silmm_plugins.models.tiny_discrete.options import WEIGHTS

from training.tiny_continuous import base, pools, strong
from training.tiny_continuous.export import export
from training.tiny_continuous.sampling import load_sampled_images
from training.tiny_discrete.pools import understanding_pool
from training.work_folder import keep_pool, keep_recipe

SAMPLING, EXAM, PART = 120_000, 16_000, 2_000


def main() -> None:
    """Run all steps."""
    parser = argparse.ArgumentParser(prog="python -m training.tiny_continuous", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="pools and checkpoints")
    parser.add_argument("--out", type=Path, help="where to export the weights (default: the package)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--until", choices=["pools", "decoder", "export"], default="export")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    work: Path = args.work
    work.mkdir(parents=True, exist_ok=True)
    keep_recipe(work / "recipe.json", recipe(args.seed))
    first = args.seed * 1000
    sampling = keep_pool(
        work / "sampling.npz", pools.image_pool, [(first + i, PART) for i in range(SAMPLING // PART)]
    )
    # Seeds outside the pools of tiny-discrete: it was not trained on these questions.
    exam = keep_pool(
        work / "understanding.npz", understanding_pool,
        [(first + 900 + i, PART) for i in range(EXAM // PART)],
    )  # fmt: skip
    if args.until == "pools":
        return
    discrete = TinyDiscrete.load()
    words, weights = discrete.vocabulary, WEIGHTS / "language_model.safetensors"
    torch.manual_seed(args.seed)
    teacher = strong.train(
        load_sampled_images(sampling, discrete.tokenizer, words), discrete.tokenizer,
        strong.new_language_model(words, weights), work / "strong", strong.Plan(), args.seed,
    )  # fmt: skip
    if args.until == "decoder":
        return
    plan = base.Plan()
    torch.manual_seed(args.seed + 1)
    student = strong.new_language_model(words, weights)
    embeddings = discrete.backbone.get_input_embeddings().weight.detach()  # type: ignore[operator]
    codes = embeddings[discrete.language_model.first_code :]
    unexplained = base.fit_patches(student, discrete.tokenizer.codebook, codes, plan.patch_steps)
    print(f"patch encoder: {unexplained:.4f} of the codes' embeddings unexplained", flush=True)
    model = base.train(student, teacher.model, base.load_exam(exam), work / "base", plan, args.seed)
    export(model, teacher.decoder, args.out)


def recipe(seed: int) -> dict[str, Any]:
    """Return everything that decides the weights."""
    return {
        "seed": seed, "strong": asdict(strong.Plan()), "base": asdict(base.Plan()),
        "sizes": {"sampling": SAMPLING, "exam": EXAM, "part": PART},
        "start": json.loads((WEIGHTS / "sha256.json").read_text()),
    }  # fmt: skip


if __name__ == "__main__":
    main()
