"""The benchmark `shapes`: held-out compositions, sampled before and after, read by an exact judge."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from silmm import __version__
from silmm.bench.statistics import RESAMPLES, cluster_means, paired_difference
from silmm.contracts.models import BaseModel, SamplingParams
from silmm.contracts.records import Difference, EvalResult
from silmm.errors import PluginError
from silmm.lora.loading import load_adapter
from silmm.storage.atomic_files import atomic_write
from silmm.storage.json_files import to_json
from silmm_benchmarks.shapes.answering import SEED, accuracy_by_scene
from silmm_benchmarks.shapes.feedback import self_feedback
from silmm_benchmarks.shapes.language import Mention, Spec
from silmm_benchmarks.shapes.options import ShapesOptions
from silmm_benchmarks.shapes.sampled import (
    Plan,
    Setting,
    adapter_digest,
    entirely_right,
    facts_right,
    own_score,
    sample,
)
from silmm_benchmarks.shapes.splits import EvalPrompt, contaminated, report_prompts, tune_prompts
from silmm_benchmarks.shapes.world import LARGE, Object, Scene, render

if TYPE_CHECKING:
    from silmm.bench.requests import BenchOutcome, BenchRequest
    from silmm.bench.runner import Bench
    from silmm.registry.registry import Registry
    from silmm_benchmarks.shapes.judge import Judge

SPLITS = {"report": report_prompts, "tune": tune_prompts}
BEFORE = "before"
IMAGES = "images.json"
"""In the work folder: which sampled folder holds the headline images of which model."""

Floats = npt.NDArray[np.float64]
Measure = Callable[[pa.Table], Floats]


@dataclass(frozen=True)
class _Side:
    """One model of the comparison: its name, its adapter, and the content id of that."""

    name: str
    folder: Path | None
    digest: str

    @property
    def named(self) -> str:
        """What an error calls this model."""
        return f"the model with the adapter {self.folder}" if self.folder else "the base model"


class ShapesBenchmark:
    """Scores images of held-out prompts with the exact judge; nothing of it reaches the loop."""

    def __init__(self, options: ShapesOptions) -> None:
        """Keep the options; the judge is made when it is needed."""
        self.options = options

    def excluded(self, prompt: str) -> bool:
        """Say whether a training prompt would contaminate the held-out prompts."""
        return contaminated(prompt)

    def kept_by_content(self, work: Path) -> list[Path]:
        """Return what is finished in `work` under a name made of all it depends on, but for the model."""
        sampled = [path.parent for path in sorted(work.glob("drawn-*/manifest.json"))]
        return [*sampled, *sorted(work.glob("answers-*.json")), *sorted(work.glob("feedback-*.json"))]

    def evaluate(
        self,
        model: BaseModel,
        adapters: Mapping[str, Path | None],
        *,
        work: Path,
        seed: int,
        limit: int | None,
        progress: Callable[[str, int, int], None],
    ) -> EvalResult:
        """Compare the base (key "before") with each adapter; the last one is the "after".

        Both sides sample each image from the same seed. The headline is the mean share of facts
        that hold ("facts"), first over the images of a prompt, then over prompts, with a paired
        bootstrap interval over prompts. Beside it: all facts correct, the same at plain
        sampling, VQA accuracy on clean held-out scenes, the model's score of its images.

        Args:
            model: the base model; adapters are put on and taken off it.
            adapters: "before" -> None and the tuned models in turn.
            work: finished work is kept here by content: a second call goes on from it.
            seed: the run's seed.
            limit: evaluate about this many prompts only (see :func:`spread`); marks the result.
            progress: told of model and sampling, images done, and all images.

        Raises:
            ValueError: `adapters` has no "before" or nothing to compare it with.
            DataError: a model's answers are not finite.
        """
        from silmm_benchmarks.shapes.judge import Judge  # here: nothing but the evaluation reaches it

        judge = Judge()
        check_canaries(judge)
        sides = [_Side(n, f, adapter_digest(f)) for n, f in _ordered(adapters)]
        exam = _Exam(
            options=self.options, model=model, judge=judge, work=work, seed=seed,
            prompts=spread(SPLITS[self.options.split](), limit), progress=progress,
        )
        sharp = SamplingParams(self.options.temperature, self.options.top_p)
        headline = {side.name: exam.images(side, sharp, asked=True) for side in sides}
        atomic_write(work / IMAGES, to_json({name: kept for name, (_, kept) in headline.items()}))
        tables = {name: table for name, (table, _) in headline.items()}
        before, after = tables[BEFORE], tables[sides[-1].name]
        rounds = {
            "VQA accuracy": exam.answering(sides),
            "self-score (Eq. 1)": {
                side.name: _overall(own_score, before, tables[side.name]) for side in sides[1:]
            },
        }
        secondary = {
            "all facts correct": _overall(entirely_right, before, after),
            **exam.plain(sides[0], sides[-1]),
            **{name: found[sides[-1].name] for name, found in rounds.items() if found},
        }
        load_adapter(model, None)
        return EvalResult(
            benchmark="shapes",
            metric="facts",
            protocol=exam.card(sharp),
            overall=_overall(facts_right, before, after),
            categories=_by_category(facts_right, before, after),
            secondary=secondary,
            iterations={
                side.name: _overall(facts_right, before, tables[side.name]) for side in sides[1:]
            },
            secondary_by_iteration={name: found for name, found in rounds.items() if found},
            extra=self_feedback(work.parent, exam.judge, work),
            partial=limit is not None,
        )


    @property
    def takes_options_for(self) -> Collection[str]:
        """As any image benchmark (`silmm bench shapes`)."""
        return self._images().takes_options_for

    def bench(
        self,
        request: BenchRequest,
        *,
        registry: Registry,
        progress: Callable[[str, int, int], None],
        note: Callable[[str], None],
    ) -> BenchOutcome:
        """Score images of any origin by their files (:class:`silmm.bench.requests.ImageBench`)."""
        return self._images().bench(request, registry=registry, progress=progress, note=note)

    def _images(self) -> Bench:
        from silmm.bench.runner import Bench  # here: a run needs none of it
        from silmm_benchmarks.shapes.image_benchmark import ShapesImages

        return Bench(ShapesImages(self.options.split, self.options.images))


@dataclass(frozen=True)
class _Exam:
    """One evaluation: the prompts, the model, and where finished work lies."""

    options: ShapesOptions
    model: BaseModel
    judge: Judge
    prompts: tuple[EvalPrompt, ...]
    work: Path
    seed: int
    progress: Callable[[str, int, int], None]

    def images(self, side: _Side, sampling: SamplingParams, *, asked: bool) -> tuple[pa.Table, str]:
        """Return a side's judged images and the name of the folder that keeps them."""
        images = self.options.images if asked else self.options.images_at_temperature_1
        plan = Plan(self.prompts, Setting(sampling, images, asked), self.seed, self.options.batch)
        label = f"evaluate {side.name}" if asked else f"evaluate {side.name}, plain"
        return sample(
            self.model, self.judge, plan, adapter=side.digest, named=side.named,
            load=lambda: load_adapter(self.model, side.folder), work=self.work,
            progress=lambda done, total: self.progress(label, done, total),
        )

    def plain(self, first: _Side, last: _Side) -> dict[str, Difference]:
        """Compare at temperature 1 and top_p 1, where sharpening counts as a gain too."""
        if not self.options.images_at_temperature_1:
            return {}
        before, _ = self.images(first, SamplingParams(), asked=False)
        after, _ = self.images(last, SamplingParams(), asked=False)
        return {
            "facts, temperature 1": _overall(facts_right, before, after),
            "all facts correct, temperature 1": _overall(entirely_right, before, after),
        }

    def answering(self, sides: Sequence[_Side]) -> dict[str, Difference]:
        """Compare VQA accuracy on clean renders: each tuned model against the base."""
        if not self.options.questions:
            return {}
        accuracy = {
            side.name: accuracy_by_scene(
                self.model, self.prompts, questions=self.options.questions, adapter=side.digest,
                named=side.named, load=partial(load_adapter, self.model, side.folder), work=self.work,
            )
            for side in sides
        }
        base = accuracy.pop(BEFORE)
        return {name: paired_difference(base, one) for name, one in accuracy.items()}

    def card(self, sampling: SamplingParams) -> dict[str, object]:
        """Return the protocol: what a number of this benchmark depends on beside the model, hashed."""
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


def check_canaries(judge: Judge) -> None:
    """Let the judge find what is there, miss what is not, and find nothing in a blank image.

    Raises:
        PluginError: a canary fails; no number of this judge is to be trusted.
    """
    there = Object("circle", "red", "plain", 1, 3, LARGE)
    images = np.stack([render(Scene((there,))), render(Scene(()))])
    true, false = (Spec("color", (Mention("circle", color),)) for color in ("red", "blue"))
    verdicts = [
        bool(facts[0]) for facts in judge.facts(images[[0, 0, 1]], [true, false, true])
    ]
    if verdicts != [True, False, False]:
        raise PluginError(
            f"The shapes judge fails its canaries (true, false, blank image: {verdicts}); it cannot "
            "score. Reinstall silmm; if it stays so, report it."
        )


def spread(prompts: Sequence[EvalPrompt], limit: int | None) -> tuple[EvalPrompt, ...]:
    """Return the first prompts taken in turn from each category: `limit` of them, all with None.

    Every category keeps at least two prompts, because a bootstrap over one prompt has no interval.
    """
    limit = len(prompts) if limit is None else max(limit, 2 * len({p.category for p in prompts}))
    if limit >= len(prompts):
        return tuple(prompts)
    turn: dict[str, int] = {}
    ranked = []
    for position, prompt in enumerate(prompts):
        turn[prompt.category] = turn.get(prompt.category, 0) + 1
        ranked.append((turn[prompt.category], position))
    kept = sorted(position for _, position in sorted(ranked)[:limit])
    return tuple(prompts[position] for position in kept)


def _ordered(adapters: Mapping[str, Path | None]) -> list[tuple[str, Path | None]]:
    """Return the base, then the tuned models in the order given."""
    tuned = [(name, folder) for name, folder in adapters.items() if name != BEFORE]
    if BEFORE not in adapters or not tuned:
        raise ValueError(
            f"shapes compares 'before' with tuned models, but was given {sorted(adapters)}"
        )
    return [(BEFORE, adapters[BEFORE]), *tuned]


def _overall(measure: Measure, before: pa.Table, after: pa.Table) -> Difference:
    """Compare the prompts' means of a measure over the images of two tables of equal prompts."""
    names, first = cluster_means(measure(before), before.column("prompt_id").to_pylist())
    others, second = cluster_means(measure(after), after.column("prompt_id").to_pylist())
    if names != others:
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
