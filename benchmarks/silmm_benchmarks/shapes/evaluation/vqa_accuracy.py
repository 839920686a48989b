"""VQA accuracy on clean renders of held-out scenes: better images must not cost understanding."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from silmm.bench.evaluation import ComparedModel
from silmm.contracts.models import BaseModel, Image
from silmm.errors import DataError
from silmm.lora.loading import load_adapter
from silmm.seeds import derive
from silmm.storage.atomic_files import atomic_write
from silmm.storage.json_files import read_json, to_json, well_formed
from silmm_benchmarks.shapes.scene_questions import sample_questions
from silmm_benchmarks.shapes.scene_sampling import sample_scene
from silmm_benchmarks.shapes.splits import EvalPrompt
from silmm_benchmarks.shapes.world import render

SEED = 20240
"""Scenes and questions are the same for every run and model: they are the benchmark's own."""

_BATCH = 128


def accuracy_by_scene(
    model: BaseModel,
    prompts: Sequence[EvalPrompt],
    compared: ComparedModel,
    *,
    questions: int,
    work: Path,
) -> npt.NDArray[np.float64]:
    """Return the share of right answers in one scene of each prompt, shape (prompts,).

    Half of the questions of a scene have the answer yes, so a constant answer scores 0.5. The
    answer is yes where p(yes) > p(no).

    Args:
        model: the base model; the adapter is put on it only if it has to answer.
        prompts: one scene is rendered for each.
        compared: the model's name and adapter.
        questions: number of questions about each scene.
        work: results are kept here by the adapter's content.

    Raises:
        DataError: an answer is not finite.
    """
    facts = [SEED, questions, compared.digest, [p.text for p in prompts]]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
    path = work / f"answers-{digest}.json"
    if path.is_file():
        return _kept(path, len(prompts))
    load_adapter(model, compared.adapter)
    images, questions_by_scene, truth = _clean_scenes(prompts, questions)
    answers: list[npt.NDArray[np.float64]] = []
    for start in range(0, len(images), _BATCH):
        part = slice(start, start + _BATCH)
        answers += model.yes_no(images[part], questions_by_scene[part])
    require_finite(answers, compared.description)
    right = [
        float(np.mean((p[:, 0] > p[:, 1]) == np.array(t)))
        for p, t in zip(answers, truth, strict=True)
    ]
    atomic_write(path, to_json({"accuracy": right}))
    return np.array(right)


def _kept(path: Path, scenes: int) -> npt.NDArray[np.float64]:
    """Return kept results, checked: one finite share for each scene."""
    stored = read_json(path)
    with well_formed(path):
        accuracy = np.array(stored["accuracy"], dtype=np.float64)
        if accuracy.shape != (scenes,) or not np.isfinite(accuracy).all():
            raise ValueError(f"{scenes} finite numbers")
    return accuracy


def require_finite(answers: Sequence[npt.NDArray[np.float64]], description: str) -> None:
    """Refuse answers that are not finite: NaN would count as "no", and so be right half of the time.

    Raises:
        DataError: p(yes) or p(no) is not finite; names the model and the way out.
    """
    broken = sum(not np.isfinite(row).all() for row in answers)
    if broken:
        raise DataError(
            f"The benchmark 'shapes' cannot score {description}: its answers about {broken} of {len(answers)} "
            "images are not finite. If this is a tuned model, its training has diverged: look at "
            "metrics.jsonl of its iteration, and train with a lower --set trainer.learning_rate=… in "
            "a new run directory."
        )


def _clean_scenes(
    prompts: Sequence[EvalPrompt], questions: int
) -> tuple[list[Image], list[list[str]], list[list[bool]]]:
    """Render a scene of each prompt and sample balanced questions with their exact answers."""
    images: list[Image] = []
    questions_by_scene: list[list[str]] = []
    truth: list[list[bool]] = []
    for prompt in prompts:
        rng = np.random.default_rng(derive(SEED, "answering", prompt.text))
        scene = sample_scene(rng, prompt.spec)
        sampled = sample_questions(rng, scene, questions, allow_held_out=True)
        images.append(render(scene))
        questions_by_scene.append([text for text, _ in sampled])
        truth.append([answer for _, answer in sampled])
    return images, questions_by_scene, truth
