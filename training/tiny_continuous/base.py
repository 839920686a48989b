"""Train the backbone that ships: it answers and writes well, and has sampled too little to sample well.

First the patch encoder learns to say what the image codes of `tiny-discrete` said, so that all that model
knows of images is kept. Then the backbone practises answering and writing, rewriting prompts included.
Then it learns to sample beside that, by matching the H that the strong backbone gives to *noisy* captions:
attributes exchanged, relations turned round, numbers off by one. Its H is then a mean of the right reading
and of wrong ones, while the frozen decoder could decode the right one. That gap is what SILMM lives on: every
prompt's H has to move the same way, toward the right reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from silmm_benchmarks.shapes.language import CATEGORIES, Spec, caption
from silmm_benchmarks.shapes.splits import training_spec
from silmm_plugins.models.tiny_continuous.language_model import TinyContinuousLM
from torch import Tensor
from torch.nn import functional as F

from training.tiny_continuous.text_tasks import RewritingTask
from training.tiny_discrete import checkpoint
from training.tiny_discrete.pools import NOISE, Noise, mutate
from training.tiny_discrete.train_language_model import SAVE_EVERY, learning_rate
from training.tiny_discrete.train_tokenizer import pixels


@dataclass(frozen=True)
class Plan:
    """How long and on how much to train."""

    patch_steps: int = 1500
    practice: int = 400
    """Steps of answering and writing alone."""
    practice_peak: float = 5e-4
    sampling: int = 260
    """Steps of sampling, with answering and writing beside it."""
    sampling_peak: float = 1e-3
    settling: int = 120
    """Steps of all three, down to a learning rate of 0."""
    noise: Noise = NOISE
    images: int = 32
    questions: int = 8
    texts: int = 32
    captions: int = 64


@dataclass(frozen=True)
class Exam:
    """Images with questions and their answers."""

    images: NDArray[np.uint8]
    questions: NDArray[np.str_]
    answers: NDArray[np.bool_]
    is_relation: NDArray[np.bool_]


def load_exam(path: Path) -> Exam:
    """Read the pool of :func:`training.tiny_discrete.pools.understanding_pool`."""
    pool = np.load(path)
    relation = np.char.find(pool["questions"], "is the ") == 0
    return Exam(pool["images"], pool["questions"], pool["answers"], relation)


def fit_patches(model: TinyContinuousLM, codebook: Tensor, embeddings: Tensor, steps: int) -> float:
    """Fit the patch encoder to the embeddings of the patches' codes; return the share left unexplained."""
    optimizer = torch.optim.Adam(model.patch_encoder.parameters(), lr=3e-3)
    spread = embeddings.square().mean()
    loss = torch.zeros(())
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - step / steps)
        loss = (model.patch_encoder(codebook) - embeddings).square().mean() / spread
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return float(loss.detach())


def answering_loss(
    model: TinyContinuousLM, exam: Exam, rng: np.random.Generator, plan: Plan
) -> tuple[Tensor, float]:
    """Return the cross-entropy of yes and no, and the share of right answers."""
    rows = rng.integers(len(exam.images), size=plan.images)
    # Relations are the hardest kind: they are sampled three times as often.
    weight = np.where(exam.is_relation[rows], 3.0, 1.0)
    keys = rng.random((plan.images, exam.answers.shape[1])) ** (1 / weight)
    picks = np.argsort(-keys, axis=1)[:, : plan.questions]
    words = model.vocabulary
    texts = [
        [words.ask, *words.encode(str(exam.questions[r, p]))]
        for r, ps in zip(rows, picks, strict=True) for p in ps
    ]  # fmt: skip
    answers = torch.from_numpy(exam.answers[rows[:, None], picks].ravel())
    cache, _ = model.encode_images(model.patches(pixels(exam.images[rows])))
    owner = torch.arange(plan.images).repeat_interleave(plan.questions)
    out, last = model.question_outputs(cache, owner, texts)
    logits = model.logits(out.last_hidden_state[torch.arange(len(texts)), last])
    right = ((logits[:, words.yes] > logits[:, words.no]) == answers).float().mean()
    return F.cross_entropy(logits, torch.where(answers, words.yes, words.no)), right.item()


def writing_loss(model: TinyContinuousLM, tasks: RewritingTask, rng: np.random.Generator, texts: int) -> Tensor:
    """Return the negative log-likelihood of the answers of chat tasks, nats per token."""
    pairs = [tasks.sample(rng) for _ in range(texts)]
    logits, targets = model.text_logits([a for a, _ in pairs], [b for _, b in pairs])
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)


def matching_loss(
    model: TinyContinuousLM, strong: TinyContinuousLM, rng: np.random.Generator, captions: int, noise: Noise
) -> Tensor:
    """Return how far H is from what the strong backbone makes of noisy captions, over its mean square."""
    words = model.vocabulary

    def prompt(spec: Spec) -> list[int]:
        return [words.bos, words.sample, *words.encode(caption(spec, rng))]

    specs = [training_spec(rng, CATEGORIES[int(rng.integers(8))]) for _ in range(captions)]
    prompts = [prompt(spec) for spec in specs]
    with torch.no_grad():
        wanted = strong.features([prompt(mutate(rng, spec, noise)) for spec in specs])
    return (model.features(prompts) - wanted).square().mean() / wanted.square().mean()


def _rate(plan: Plan, step: int) -> float:
    """Return the learning rate of a step (0-based) in its part of the plan."""
    sampled = plan.practice + plan.sampling
    if step < plan.practice:
        return learning_rate(step, plan.practice, plan.practice_peak, 50)
    if step < sampled:
        return plan.sampling_peak * min(1.0, (step - plan.practice + 1) / 30)
    return plan.sampling_peak * (1 - (step - sampled) / plan.settling)


def train(
    model: TinyContinuousLM, strong: TinyContinuousLM, exam: Exam, work: Path, plan: Plan, seed: int
) -> TinyContinuousLM:
    """Train to the plan's end, resuming from `work`; return the model in eval mode."""
    strong.requires_grad_(False)
    tasks = RewritingTask(model.vocabulary)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=plan.practice_peak, betas=(0.9, 0.98), weight_decay=0.05
    )
    steps = plan.practice + plan.sampling + plan.settling
    for step in range(checkpoint.load(work, model, optimizer), steps):
        rng = np.random.default_rng([seed, 19, step])
        sampling = step >= plan.practice
        for group in optimizer.param_groups:
            group["lr"] = _rate(plan, step)
        with torch.autocast("cpu", torch.bfloat16):
            answer, right = answering_loss(model, exam, rng, plan)
            text = writing_loss(model, tasks, rng, plan.texts)
            loss = answer + text
            if sampling:
                match = matching_loss(model, strong, rng, plan.captions, plan.noise)
                loss = loss + match
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 20 == 0:
            seen = f" match {match.item():.3f}" if sampling else ""
            print(f"base {step} right {right:.3f} text {text.item():.3f}{seen}", flush=True)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            checkpoint.save(work, model, optimizer, step + 1)
    return model.eval()
