"""Question answering on clean renders of held-out scenes: tuning must not buy pictures with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from silmm.interfaces import BaseModel, Image
from silmm.seeds import derive
from silmm.store import atomic_write, read_json, to_json
from silmm_benchmarks.shapes.questions import sample_questions
from silmm_benchmarks.shapes.sampling import sample_scene
from silmm_benchmarks.shapes.splits import EvalPrompt
from silmm_benchmarks.shapes.world import render

SEED = 20240
"""Scenes and questions are the same for every run and model: they are the benchmark's own."""

_BATCH = 128


def accuracy_by_scene(
    model: BaseModel,
    prompts: Sequence[EvalPrompt],
    *,
    questions: int,
    adapter: str,
    load: Callable[[], None],
    work: Path,
) -> npt.NDArray[np.float64]:
    """Return the share of right answers in one scene of each prompt, shape (prompts,).

    Half of the questions of a scene have the answer yes, so a constant answer scores 0.5. The
    answer is yes where p(yes) > p(no).

    Args:
        questions: number of questions about each scene.
        adapter: content id of what `load` puts on the model; results are kept in `work` by it.
        load: called only if the model has to answer.
    """
    facts = [SEED, questions, adapter, [p.text for p in prompts]]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
    path = work / f"answers-{digest}.json"
    if path.is_file():
        return np.array(read_json(path)["accuracy"])
    load()
    images, asked, truth = _exam(prompts, questions)
    answers: list[npt.NDArray[np.float64]] = []
    for start in range(0, len(images), _BATCH):
        part = slice(start, start + _BATCH)
        answers += model.yes_no(images[part], asked[part])
    right = [
        float(np.mean((p[:, 0] > p[:, 1]) == np.array(t)))
        for p, t in zip(answers, truth, strict=True)
    ]
    atomic_write(path, to_json({"accuracy": right}))
    return np.array(right)


def _exam(
    prompts: Sequence[EvalPrompt], questions: int
) -> tuple[list[Image], list[list[str]], list[list[bool]]]:
    """Render a scene of each prompt and draw balanced questions with their exact answers."""
    images: list[Image] = []
    asked: list[list[str]] = []
    truth: list[list[bool]] = []
    for prompt in prompts:
        rng = np.random.default_rng(derive(SEED, "answering", prompt.text))
        scene = sample_scene(rng, prompt.spec)
        drawn = sample_questions(rng, scene, questions, allow_held_out=True)
        images.append(render(scene))
        asked.append([text for text, _ in drawn])
        truth.append([answer for _, answer in drawn])
    return images, asked, truth
