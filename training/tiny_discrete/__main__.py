"""Make `tiny-discrete` from nothing: ``python -m training.tiny_discrete --work DIR [--out DIR]``.

Four steps, each kept in the work directory and resumed after a kill: pools of scenes, image tokenizer,
language model, export of the weights. A work directory belongs to one recipe. The cost is in the model's
card.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from silmm_plugins.models.tiny_discrete.image_tokenizer import TinyImageTokenizer

from training.tiny_discrete import pools
from training.tiny_discrete.export import export
from training.tiny_discrete.text_tasks import TextTask, make_vocabulary
from training.tiny_discrete.train_language_model import Plan, load_pools, train
from training.tiny_discrete.train_tokenizer import CODES, fit

UNDERSTANDING, SAMPLING, PART = 60_000, 100_000, 2_000


def main() -> None:
    """Run all steps."""
    parser = argparse.ArgumentParser(prog="python -m training.tiny_discrete", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="pools and checkpoints")
    parser.add_argument("--out", type=Path, help="where to export the weights (default: the package)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--until", choices=["pools", "tokenizer", "model", "export"], default="export")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    work: Path = args.work
    work.mkdir(parents=True, exist_ok=True)
    keep_recipe(work / "recipe.json", args.seed, Plan())
    understanding = pools.make(
        "understanding", work / "understanding.npz",
        [(args.seed * 1000 + i, PART) for i in range(UNDERSTANDING // PART)],
    )  # fmt: skip
    sampling = pools.make(
        "sampling", work / "sampling.npz",
        [(args.seed * 1000 + i, PART, pools.NOISE) for i in range(SAMPLING // PART)],
    )  # fmt: skip
    if args.until == "pools":
        return
    tokenizer = keep_tokenizer(work / "tokenizer.safetensors", (understanding, sampling))
    if args.until == "tokenizer":
        return
    tasks = TextTask(make_vocabulary())
    data = load_pools(understanding, sampling, tokenizer, tasks.vocabulary)
    model = train(data, tokenizer, tasks, work / "language-model", Plan(), args.seed)
    if args.until == "export":
        export(model, tokenizer, args.out)


def keep_recipe(path: Path, seed: int, plan: Plan) -> None:
    """Write what the work directory is made by, or compare it with what is there.

    Raises:
        SystemExit: the directory was made by another recipe; its parts must not be mixed with this one's.
    """
    sizes = {"understanding": UNDERSTANDING, "sampling": SAMPLING, "part": PART}
    recipe = {"seed": seed, "noise": asdict(pools.NOISE), "plan": asdict(plan), "sizes": sizes}
    if not path.exists():
        path.write_text(json.dumps(recipe, indent=1) + "\n")
    elif json.loads(path.read_text()) != recipe:
        raise SystemExit(f"{path.parent} was made by another recipe ({path.name}); give another --work")


def keep_tokenizer(path: Path, pools: tuple[Path, ...]) -> TinyImageTokenizer:
    """Fit the tokenizer on the pools' images and keep it, or read the one that was kept."""
    if not path.exists():
        fitted = fit(np.concatenate([np.load(pool)["images"] for pool in pools]))
        partial = path.with_suffix(".partial")
        save_file(dict(fitted.state_dict()), partial)
        partial.replace(path)
    tokenizer = TinyImageTokenizer(CODES)
    tokenizer.load_state_dict(load_file(path))
    return tokenizer.eval()


if __name__ == "__main__":
    main()
