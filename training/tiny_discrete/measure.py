"""Measure the shipped model: ``python -m training.tiny_discrete.measure OUT.json``.

What the model's page says is what this prints: VQA accuracy on clean renders of fresh scenes,
alignment of its samples on the tune prompts over temperatures and top_p, best of ten, decompositions,
self-written prompts, and what the judge and the tokenizer lose.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from silmm_benchmarks.shapes.exact_judge import ExactJudge
from silmm_benchmarks.shapes.facts import atomic_facts, holds, parse_question, statement
from silmm_benchmarks.shapes.holdout import is_held_out
from silmm_benchmarks.shapes.language import CATEGORIES, Spec, caption, parse_caption
from silmm_benchmarks.shapes.scene_questions import sample_questions
from silmm_benchmarks.shapes.scene_sampling import random_scene, sample_scene, sample_spec
from silmm_benchmarks.shapes.splits import training_spec, tune_prompts
from silmm_benchmarks.shapes.world import render
from silmm_plugins.models.tiny.model import TinyModel
from silmm_plugins.models.tiny_discrete.model import TinyDiscrete
from silmm_plugins.models.tiny_discrete.options import WEIGHTS

from silmm.contracts.models import ChatRequest, SamplingParams
from silmm.seeds import derive
from training.tiny_discrete.train_tokenizer import pixels

TEMPERATURES = (3.0, 2.0, 1.5, 1.2, 1.0, 0.8, 0.6, 0.4)
TOP_PS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)


def answering(model: TinyModel, scenes: int = 1600, questions: int = 12) -> dict[str, Any]:
    """Return the accuracy on questions about clean renders of fresh scenes, overall and by kind.

    Half of the scenes are of captions with a held-out combination, half are free; half of all answers
    are yes.
    """
    rng = np.random.default_rng(2024)
    sampled = [
        random_scene(rng) if n % 2
        else sample_scene(rng, _held_out_spec(rng, CATEGORIES[n // 2 % len(CATEGORIES)]))
        for n in range(scenes)
    ]  # fmt: skip
    asked = [sample_questions(rng, scene, questions, allow_held_out=True) for scene in sampled]
    answers = model.yes_no([render(s) for s in sampled], [[t for t, _ in group] for group in asked])
    kinds: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for group, values in zip(asked, answers, strict=True):
        for (text, truth), (yes, no) in zip(group, values, strict=True):
            fact = parse_question(text)
            kinds[fact.relation or fact.kind].append((bool(yes > no) == truth, truth))
    return {
        "overall": _share([answer for kind in kinds.values() for answer in kind]),
        "kinds": {name: _share(kind) for name, kind in sorted(kinds.items())},
    }


def _held_out_spec(rng: np.random.Generator, category: str) -> Spec:
    while not is_held_out(spec := sample_spec(rng, category)):
        pass
    return spec


def _share(answered: list[tuple[bool, bool]]) -> dict[str, float]:
    """Return the share of right ones among (right, truth), their number, and how many are a yes."""
    right, truth = np.array(answered).T
    figures = {"right": float(right.mean()), "n": len(right), "yes": float(truth.mean())}
    return {name: round(value, 4) for name, value in figures.items()}


def sampling(model: TinyDiscrete, setting: SamplingParams, images: int) -> dict[str, float]:
    """Return facts right, all facts correct and the best of `images`, on the tune prompts."""
    prompts = [p for p in tune_prompts() for _ in range(images)]
    seeds = [derive(5, p.text, n) for p in tune_prompts() for n in range(images)]
    codes = model.represent([p.text for p in prompts], seeds, setting)
    facts = ExactJudge().facts(np.stack(model.decode(codes, seeds)), [p.spec for p in prompts])
    soft = np.array([f.mean() for f in facts]).reshape(-1, images)
    strict = np.array([f.all() for f in facts]).reshape(-1, images)
    return {
        "facts": round(float(soft.mean()), 4),
        "best": round(float(soft.max(1).mean()), 4),
        "entirely": round(float(strict.mean()), 4),
    }


def decomposing(model: TinyModel, each: int = 40) -> float:
    """Return the share of unseen-seed training-split prompts whose decomposition is exactly right."""
    rng = np.random.default_rng(77)
    specs = [training_spec(rng, category) for category in CATEGORIES for _ in range(each)]
    replies = model.chat([ChatRequest("decompose", caption(spec, rng)) for spec in specs])
    right = [
        reply.split(" ; ") == [statement(f) for f in atomic_facts(spec)]
        for reply, spec in zip(replies, specs, strict=True)
    ]
    return round(float(np.mean(right)), 4)


def writing(model: TinyModel, number: int = 300) -> float:
    """Return the share of self-written prompts (semantic and complex) that the grammar accepts."""
    requests = [
        ChatRequest("write", ("non_spatial", "complex")[n % 2], temperature=1.0, seed=n)
        for n in range(number)
    ]
    return round(float(np.mean([_valid(text) for text in model.chat(requests)])), 4)


def _valid(text: str) -> bool:
    try:
        parse_caption(text)
    except ValueError:
        return False
    return True


def losses(model: TinyDiscrete, each: int = 300) -> dict[str, dict[str, float]]:
    """Return the judge's accuracy on clean renders and on reconstructions, by category."""
    rng = np.random.default_rng(5)
    judge = ExactJudge()
    table: dict[str, dict[str, float]] = {}
    for category in CATEGORIES:
        specs = [sample_spec(rng, category) for _ in range(each)]
        others = [sample_spec(rng, category) for _ in range(each)]
        scenes = [sample_scene(rng, spec) for spec in specs]
        clean = np.stack([render(scene) for scene in scenes])
        with torch.inference_mode():
            again = model.tokenizer.decode(model.tokenizer.encode(pixels(clean)))
        rebuilt = (again * 255).round().to(torch.uint8).movedim(1, -1).numpy()
        table[category] = {
            "clean": _agreement(judge, clean, scenes, specs + others),
            "reconstructed": round(float(np.mean([f.mean() for f in judge.facts(rebuilt, specs)])), 4),
        }
    return table


def _agreement(
    judge: ExactJudge, images: NDArray[np.uint8], scenes: list[Any], specs: list[Any]
) -> float:
    """Compare verdicts with the true scenes, for the images' own facts and for another spec's."""
    twice = np.concatenate([images, images])
    verdicts = judge.facts(twice, specs)
    truths = [
        [holds(scene, fact) for fact in atomic_facts(spec)]
        for scene, spec in zip([*scenes, *scenes], specs, strict=True)
    ]
    same = [v == t for vs, ts in zip(verdicts, truths, strict=True) for v, t in zip(vs, ts, strict=True)]
    return round(float(np.mean(same)), 4)


def main() -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", type=Path, help="another folder than the shipped one")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = TinyDiscrete.load(args.weights) if args.weights else TinyDiscrete.load()
    grid = {
        f"temperature {t:g}, top_p {p:g}": sampling(model, SamplingParams(t, p), 4)
        for t in TEMPERATURES for p in TOP_PS
    }  # fmt: skip
    card = (args.weights or WEIGHTS) / "sha256.json"
    result = {
        "weights": hashlib.sha256(card.read_bytes()).hexdigest(),
        "VQA accuracy": answering(model),
        "sampling at temperature 1, ten images": sampling(model, SamplingParams(), 10),
        "grid on the tune prompts, four images": grid,
        "decompositions exactly right": decomposing(model),
        "self-written prompts valid": writing(model),
        "judge": losses(model),
        "parameters": sum(p.numel() for p in model.language_model.parameters()),
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
