"""Samples the benchmark's images, judges them and keeps both: committed by the shard, resumable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from silmm.bench.evaluation import ComparedModel
from silmm.contracts.models import BaseModel, Image, SamplingParams
from silmm.contracts.records import IMAGE, prompt_id
from silmm.errors import UsageError
from silmm.lora.loading import load_adapter
from silmm.seeds import derive
from silmm.storage.shards import Shards
from silmm.storage.tables import encode_png
from silmm_benchmarks.shapes.evaluation.vqa_accuracy import require_finite
from silmm_benchmarks.shapes.facts import atomic_facts, question, statement
from silmm_benchmarks.shapes.splits import EvalPrompt
from silmm_benchmarks.shapes.world import IMAGE_PX

if TYPE_CHECKING:
    from silmm_benchmarks.shapes.exact_judge import ExactJudge

SAMPLED = pa.schema([
    ("prompt_id", pa.string()), ("prompt", pa.string()), ("category", pa.string()),
    ("image_index", pa.int32()), ("seed", pa.int64()), ("image", IMAGE),
    ("statements", pa.list_(pa.string())), ("questions", pa.list_(pa.string())),
    ("holds", pa.list_(pa.bool_())),        # the judge's verdict on each statement
    ("p_yes", pa.list_(pa.float64())),      # the sampling model's own answers, null if not asked
    ("p_no", pa.list_(pa.float64())),
])

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """How both sides of a comparison are sampled."""

    sampling: SamplingParams
    images: int
    """Images per prompt."""
    asked: bool
    """Whether the model also answers the questions about its own images."""


@dataclass(frozen=True)
class Plan:
    """What one side of a comparison samples; equal plans of equal models give equal bytes."""

    prompts: tuple[EvalPrompt, ...]
    setting: Setting
    seed: int
    batch_size: int
    """Images sampled at once; part of the plan, so that a shard always has the same batches."""

    def digest(self, adapter: str) -> str:
        """Return a short content id of everything that the images depend on, except the model."""
        sampling = self.setting.sampling
        facts = [
            adapter, [p.text for p in self.prompts], self.setting.images, self.seed, self.batch_size,
            sampling.temperature, sampling.top_p, sampling.top_k, self.setting.asked, str(SAMPLED),
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def sample(
    model: BaseModel,
    judge: ExactJudge,
    plan: Plan,
    compared: ComparedModel,
    *,
    work: Path,
    progress: Callable[[int, int], None],
) -> tuple[pa.Table, str]:
    """Return the judged images of a plan, from `work` where they exist already.

    Args:
        model: the base model; the adapter is put on it before the first image is sampled, and not at all if all
            images exist.
        judge: judges the images.
        plan: what is sampled.
        compared: the model's name and adapter.
        work: where finished shards are kept.
        progress: called with images done and all images.

    Returns:
        The table (schema :data:`SAMPLED`) and the name of its folder in `work`.

    Raises:
        DataError: an answer about an image is not finite.
    """
    folder = f"sampled-{plan.digest(compared.digest)}"
    per_shard = max(1, plan.batch_size // plan.setting.images)
    parts = [plan.prompts[i : i + per_shard] for i in range(0, len(plan.prompts), per_shard)]
    shards = Shards(work / folder, len(parts))
    missing = shards.missing()
    if missing:
        load_adapter(model, compared.adapter)
    done, total = 0, len(plan.prompts) * plan.setting.images
    for index, prompts in enumerate(parts):
        if index in missing:
            shards.commit(index, _sample_shard(model, judge, plan, prompts, compared.description))
        done += len(prompts) * plan.setting.images
        progress(done, total)
    shards.seal()
    return shards.table(), folder


def facts_right(table: pa.Table) -> Floats:
    """Return the share of facts that hold in each image, shape (rows,): the soft measure."""
    return np.array([np.mean(holds) for holds in table.column("holds").to_pylist()])


def all_facts_correct(table: pa.Table) -> Floats:
    """Return 1 for each image in which all facts hold, else 0, shape (rows,): the strict one."""
    return np.array([float(all(holds)) for holds in table.column("holds").to_pylist()])


def self_score(table: pa.Table) -> Floats:
    """Return the mean of p(yes) - p(no) of each image's questions (Eq. 1), shape (rows,)."""
    yes, no = table.column("p_yes").to_pylist(), table.column("p_no").to_pylist()
    return np.array([np.mean(np.subtract(a, b)) for a, b in zip(yes, no, strict=True)])


def _sample_shard(
    model: BaseModel, judge: ExactJudge, plan: Plan, prompts: Sequence[EvalPrompt], description: str
) -> pa.Table:
    rows = [(prompt, image_index) for prompt in prompts for image_index in range(plan.setting.images)]
    texts = [prompt.text for prompt, _ in rows]
    # No adapter and no order in the seed: before and after sample the same random numbers.
    seeds = [derive(plan.seed, "shapes", prompt.text, image_index) for prompt, image_index in rows]
    images = model.decode(model.represent(texts, seeds, plan.setting.sampling), seeds)
    _check_size(images)
    verdicts = judge.facts(np.stack(images), [prompt.spec for prompt, _ in rows])
    claims = {prompt.text: atomic_facts(prompt.spec) for prompt in prompts}
    questions = [[question(fact) for fact in claims[text]] for text in texts]
    answers: Sequence[Floats | None] = [None] * len(rows)
    if plan.setting.asked:
        own_answers = model.yes_no(images, questions)
        require_finite(own_answers, description)
        answers = own_answers
    table = [
        {
            "prompt_id": prompt_id(prompt.text),
            "prompt": prompt.text,
            "category": prompt.category,
            "image_index": image_index,
            "seed": seed,
            "image": encode_png(image),
            "statements": [statement(fact) for fact in claims[prompt.text]],
            "questions": [question(fact) for fact in claims[prompt.text]],
            "holds": [bool(value) for value in verdict],
            "p_yes": None if answer is None else [float(v) for v in answer[:, 0]],
            "p_no": None if answer is None else [float(v) for v in answer[:, 1]],
        }
        for (prompt, image_index), seed, image, verdict, answer in zip(
            rows, seeds, images, verdicts, answers, strict=True
        )
    ]
    return pa.Table.from_pylist(table, schema=SAMPLED)


def _check_size(images: Sequence[Image]) -> None:
    for image in images:
        if image.shape != (IMAGE_PX, IMAGE_PX, 3):
            raise UsageError(
                f"the benchmark 'shapes' reads images of {IMAGE_PX}x{IMAGE_PX} pixels, and this "
                f"model samples {image.shape[1]}x{image.shape[0]}: use --benchmark none, or a "
                "benchmark for real images"
            )
