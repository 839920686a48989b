"""Sample the benchmark's images, judge them and keep both: committed by the shard, resumable."""

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

from silmm.contracts.models import BaseModel, Image, SamplingParams
from silmm.contracts.records import IMAGE, prompt_id
from silmm.errors import UsageError
from silmm.seeds import derive
from silmm.storage.shards import Shards
from silmm.storage.tables import encode_png
from silmm_benchmarks.shapes.answering import require_finite
from silmm_benchmarks.shapes.facts import atomic_facts, question, statement
from silmm_benchmarks.shapes.splits import EvalPrompt
from silmm_benchmarks.shapes.world import IMAGE_PX

if TYPE_CHECKING:
    from silmm_benchmarks.shapes.judge import Judge

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
    """Images of each prompt."""
    asked: bool
    """Whether the model also answers the questions about its own images."""


@dataclass(frozen=True)
class Plan:
    """What one side of a comparison samples; equal plans of equal models give equal bytes."""

    prompts: tuple[EvalPrompt, ...]
    setting: Setting
    seed: int
    batch: int
    """Images sampled at once; part of the plan, so that a shard always sees the same batches."""

    def digest(self, adapter: str) -> str:
        """Return a short content id of everything that the images depend on, model aside."""
        sampling = self.setting.sampling
        facts = [
            adapter, [p.text for p in self.prompts], self.setting.images, self.seed, self.batch,
            sampling.temperature, sampling.top_p, sampling.top_k, self.setting.asked, str(SAMPLED),
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]


def adapter_digest(folder: Path | None) -> str:
    """Return the SHA-256 over the names and bytes of an adapter's files; "base" without one."""
    if folder is None:
        return "base"
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def sample(
    model: BaseModel,
    judge: Judge,
    plan: Plan,
    *,
    adapter: str,
    named: str,
    load: Callable[[], None],
    work: Path,
    progress: Callable[[int, int], None],
) -> tuple[pa.Table, str]:
    """Return the judged images of a plan, from `work` where they are already there.

    Args:
        adapter: :func:`adapter_digest` of what `load` puts on the model.
        named: what an error calls the model with that adapter.
        load: called once before the first image is really sampled, not at all if all are there.
        progress: told of images done and of all images.

    Returns:
        The table (schema :data:`DRAWN`) and the name of its folder in `work`.

    Raises:
        DataError: an answer about an image is not finite.
    """
    folder = f"drawn-{plan.digest(adapter)}"
    per_shard = max(1, plan.batch // plan.setting.images)
    parts = [plan.prompts[i : i + per_shard] for i in range(0, len(plan.prompts), per_shard)]
    shards = Shards(work / folder, len(parts))
    missing = shards.missing()
    if missing:
        load()
    done, total = 0, len(plan.prompts) * plan.setting.images
    for index, prompts in enumerate(parts):
        if index in missing:
            shards.commit(index, _sample_shard(model, judge, plan, prompts, named))
        done += len(prompts) * plan.setting.images
        progress(done, total)
    shards.seal()
    return shards.table(), folder


def facts_right(table: pa.Table) -> Floats:
    """Return the share of facts that hold in each image, shape (rows,): the soft measure."""
    return np.array([np.mean(holds) for holds in table.column("holds").to_pylist()])


def entirely_right(table: pa.Table) -> Floats:
    """Return 1 for each image in which all facts hold, else 0, shape (rows,): the strict one."""
    return np.array([float(all(holds)) for holds in table.column("holds").to_pylist()])


def own_score(table: pa.Table) -> Floats:
    """Return the mean of p(yes) - p(no) of each image's questions (Eq. 1), shape (rows,)."""
    yes, no = table.column("p_yes").to_pylist(), table.column("p_no").to_pylist()
    return np.array([np.mean(np.subtract(a, b)) for a, b in zip(yes, no, strict=True)])


def _sample_shard(
    model: BaseModel, judge: Judge, plan: Plan, prompts: Sequence[EvalPrompt], named: str
) -> pa.Table:
    rows = [(prompt, image_index) for prompt in prompts for image_index in range(plan.setting.images)]
    texts = [prompt.text for prompt, _ in rows]
    # No adapter and no order in the seed: before and after sample the same random numbers.
    seeds = [derive(plan.seed, "shapes", prompt.text, image_index) for prompt, image_index in rows]
    images = model.decode(model.represent(texts, seeds, plan.setting.sampling), seeds)
    _check_size(images)
    verdicts = judge.facts(np.stack(images), [prompt.spec for prompt, _ in rows])
    claims = {prompt.text: atomic_facts(prompt.spec) for prompt in prompts}
    asked = [[question(fact) for fact in claims[text]] for text in texts]
    answers: Sequence[Floats | None] = [None] * len(rows)
    if plan.setting.asked:
        found = model.yes_no(images, asked)
        require_finite(found, named)
        answers = found
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
