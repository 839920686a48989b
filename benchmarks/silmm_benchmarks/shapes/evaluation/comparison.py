"""The evaluation of a run on shapes: the base model against each adapter, with everything that the world allows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from silmm import __version__
from silmm.bench.evaluation import ComparedModel, compared_models
from silmm.bench.planning import first_of_each
from silmm.bench.statistics import RESAMPLES, cluster_means, paired_difference
from silmm.contracts.benchmarks import BEFORE
from silmm.contracts.models import BaseModel, SamplingParams
from silmm.contracts.records import Difference, EvalResult
from silmm.lora.loading import load_adapter
from silmm.storage.atomic_files import atomic_write
from silmm.storage.json_files import to_json
from silmm_benchmarks.benchmark_options import ShapesOptions
from silmm_benchmarks.shapes.evaluation.sampled_images import (
    Plan,
    Setting,
    all_facts_correct,
    facts_right,
    sample,
    self_score,
)
from silmm_benchmarks.shapes.evaluation.self_feedback import self_feedback
from silmm_benchmarks.shapes.evaluation.vqa_accuracy import SEED, accuracy_by_scene
from silmm_benchmarks.shapes.exact_judge import ExactJudge
from silmm_benchmarks.shapes.shapes_judge import check_canaries
from silmm_benchmarks.shapes.splits import SPLITS, EvalPrompt

IMAGES = "images.json"
"""In the work folder: which folder holds the headline images of which model."""

Measure = Callable[[pa.Table], npt.NDArray[np.float64]]


def evaluate(
    options: ShapesOptions,
    model: BaseModel,
    adapters: Mapping[str, Path | None],
    *,
    work: Path,
    seed: int,
    limit: int | None,
    progress: Callable[[str, int, int], None],
) -> EvalResult:
    """Compare the base model with each adapter; the last one is the "after".

    Both sides sample each image from the same seed. The headline is the mean share of facts that hold ("facts"),
    first over the images of a prompt, then over prompts, with a paired bootstrap interval over prompts. Secondary
    measures: all facts correct, both at temperature 1, VQA accuracy on clean held-out scenes, and the model's own
    score of its images.

    Args:
        options: what is measured.
        model: the base model; adapters are put on it and taken off it.
        adapters: the base model (None) and the tuned models in turn.
        work: finished work is kept here by content: a second call goes on from it.
        seed: the run's seed.
        limit: evaluate about this many prompts only, at least two per category, because a bootstrap over one
            prompt has no interval; marks the result.
        progress: called with model and sampling, images done, and all images.

    Raises:
        ValueError: there is no base model, or nothing to compare it with.
        DataError: a model's answers are not finite.
        PluginError: the judge fails its canaries.
    """
    judge = ExactJudge()
    check_canaries(judge)
    models = compared_models(adapters)
    prompts = first_of_each(SPLITS[options.split](), limit, at_least=2)
    comparison = _Comparison(options, model, judge, tuple(prompts), work, seed, progress)
    headline_sampling = SamplingParams(options.temperature, options.top_p, options.top_k)
    headline = {compared.name: comparison.images(compared, headline_sampling, asked=True) for compared in models}
    atomic_write(work / IMAGES, to_json({name: folder for name, (_, folder) in headline.items()}))
    tables = {name: table for name, (table, _) in headline.items()}
    tuned = models[1:]
    before, after = tables[BEFORE], tables[tuned[-1].name]
    by_iteration = {
        "VQA accuracy": comparison.vqa_accuracy(models),
        "self-score (Eq. 1)": {compared.name: _overall(self_score, before,
            tables[compared.name]) for compared in tuned},
    }
    by_iteration = {name: differences for name, differences in by_iteration.items() if differences}
    secondary = {
        "all facts correct": _overall(all_facts_correct, before, after),
        **comparison.at_temperature_1(models[0], tuned[-1]),
        **{name: differences[tuned[-1].name] for name, differences in by_iteration.items()},
    }
    load_adapter(model, None)
    return EvalResult(
        benchmark="shapes",
        metric="facts",
        protocol=comparison.card(headline_sampling),
        overall=_overall(facts_right, before, after),
        categories=_by_category(facts_right, before, after),
        secondary=secondary,
        iterations={compared.name: _overall(facts_right, before, tables[compared.name]) for compared in tuned},
        secondary_by_iteration=by_iteration,
        extra=self_feedback(work.parent, judge, work),
        partial=limit is not None,
    )


@dataclass(frozen=True)
class _Comparison:
    """One evaluation: the prompts, the model, and where finished work is kept."""

    options: ShapesOptions
    model: BaseModel
    judge: ExactJudge
    prompts: tuple[EvalPrompt, ...]
    work: Path
    seed: int
    progress: Callable[[str, int, int], None]

    def images(self, compared: ComparedModel, sampling: SamplingParams, *, asked: bool) -> tuple[pa.Table, str]:
        """Return the judged images of a model and the name of the folder that keeps them."""
        images = self.options.images if asked else self.options.images_at_temperature_1
        plan = Plan(self.prompts, Setting(sampling, images, asked), self.seed, self.options.batch_size)
        label = f"evaluate {compared.name}" if asked else f"evaluate {compared.name}, temperature 1"
        return sample(
            self.model, self.judge, plan, compared, work=self.work,
            progress=lambda done, total: self.progress(label, done, total),
        )

    def at_temperature_1(self, first: ComparedModel, last: ComparedModel) -> dict[str, Difference]:
        """Compare at temperature 1 and top_p 1, where sharpening counts as a gain too."""
        if not self.options.images_at_temperature_1:
            return {}
        before, _ = self.images(first, SamplingParams(), asked=False)
        after, _ = self.images(last, SamplingParams(), asked=False)
        return {
            "facts, temperature 1": _overall(facts_right, before, after),
            "all facts correct, temperature 1": _overall(all_facts_correct, before, after),
        }

    def vqa_accuracy(self, models: Sequence[ComparedModel]) -> dict[str, Difference]:
        """Compare VQA accuracy on clean renders: each tuned model against the base model."""
        if not self.options.questions:
            return {}
        accuracy = {
            compared.name: accuracy_by_scene(
                self.model, self.prompts, compared, questions=self.options.questions, work=self.work
            )
            for compared in models
        }
        base = accuracy.pop(BEFORE)
        return {name: paired_difference(base, values) for name, values in accuracy.items()}

    def card(self, sampling: SamplingParams) -> dict[str, object]:
        """Return the protocol, hashed: everything that the figures depend on, except the model."""
        texts = "\n".join(f"{prompt.text}\t{prompt.spec}" for prompt in self.prompts)
        card: dict[str, object] = {
            "name": "shapes",
            "version": 2,
            "split": f"{self.options.split} (held-out combinations; settings are chosen on tune)",
            "prompts": len(self.prompts),
            "prompts_sha256": hashlib.sha256(texts.encode()).hexdigest(),
            "images_per_prompt": self.options.images,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "images_at_temperature_1": self.options.images_at_temperature_1,
            "seed": self.seed,
            "seed_rule": 'sha256 of (seed, "shapes", prompt, image); the same before and after',
            "prompt_rewriting": "none",
            "guidance": "none",
            "resolution": "32x32",
            "judge": f"exact parser without a model, of silmm {__version__}",
            "judge_match_threshold": self.judge.threshold,
            "aggregation": "share of facts, mean over images, then over prompts",
            "interval": f"95% percentile, paired bootstrap over prompts, {RESAMPLES} samples",
            "questions_per_clean_scene": self.options.questions,
            "questions_seed": SEED,
        }
        text = json.dumps(card, sort_keys=True, separators=(",", ":"))
        return {**card, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def _overall(measure: Measure, before: pa.Table, after: pa.Table) -> Difference:
    """Compare the prompts' means of a measure over the images of two tables of equal prompts."""
    names, first = cluster_means(measure(before), before.column("prompt_id").to_pylist())
    other_names, second = cluster_means(measure(after), after.column("prompt_id").to_pylist())
    if names != other_names:
        raise ValueError("the two sides hold different prompts; a paired comparison needs the same")
    return paired_difference(first, second)


def _by_category(measure: Measure, before: pa.Table, after: pa.Table) -> dict[str, Difference]:
    categories = dict.fromkeys(before.column("category").to_pylist())
    return {
        name: _overall(
            measure,
            before.filter(pc.equal(before.column("category"), name)),
            after.filter(pc.equal(after.column("category"), name)),
        )
        for name in categories
    }
