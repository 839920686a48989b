"""A small complete plugin package: quick models of both kinds and every component, without torch.

Tests copy this file into a fake distribution (:func:`install`), so that the real loader finds it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import signal
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from silmm import hookimpl
from silmm.contracts.benchmarks import Benchmark, FolderImages, Item, Request
from silmm.contracts.candidates import Candidate, Pair, Prompt, Question
from silmm.contracts.components import AnswerScorer, PrompterResult
from silmm.contracts.models import BaseModel, ChatRequest, Image, Latent, SamplingParams
from silmm.contracts.options import NoOptions, Options, option
from silmm.contracts.records import Difference, EvalResult
from silmm.contracts.training import Observe, TrainingJob
from silmm.contracts.validation_options import ValidationOptions
from silmm.lora.loading import load_adapter
from silmm.storage.atomic_files import atomic_write
from silmm.storage.json_files import to_json

LENGTH, VOCABULARY = 6, 8
HELD_OUT = "word5"
"""The toy benchmark holds out every prompt with this word."""


def install(site: Path) -> None:
    """Write the distribution `silmm-toy` with this module as `silmm_toy` into folder `site`."""
    site.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(__file__, site / "silmm_toy.py")
    info = site / "silmm_toy-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: silmm-toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[silmm]\ntoy = silmm_toy\n")


def die(*_: object) -> None:
    """End this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def _numbers(text: str, count: int) -> np.ndarray:
    """Return `count` numbers in [0, 1) that depend on `text` alone."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).random(count)


class ToyModel(BaseModel):
    """Samples tokens from a softmax of the prompt's own logits plus the adapter's bias."""

    kind = "discrete"
    capabilities = frozenset({"chat", "yes_no", "log_likelihood", "nucleus"})

    def __init__(self) -> None:
        self.bias = np.zeros(VOCABULARY)

    def load_adapter(self, folder: Path | None) -> None:
        self.bias = np.zeros(VOCABULARY)
        if folder is not None:
            self.bias = np.array(json.loads((folder / "adapter.json").read_text())["bias"])

    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        return [request.input for request in requests]

    def represent(
        self, prompts: Sequence[str], seeds: Sequence[int], sampling: SamplingParams
    ) -> list[Latent]:
        return [self._sample(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)]

    def _sample(self, prompt: str, seed: int) -> Latent:
        weights = np.exp(2 * _numbers(prompt, VOCABULARY) + self.bias)
        chances = weights / weights.sum()
        sampled = np.random.default_rng(seed).choice(VOCABULARY, size=LENGTH, p=chances)
        return sampled.astype(np.int32)

    def decode(self, latents: Sequence[Latent], seeds: Sequence[int]) -> list[Image]:
        rows = [np.repeat(z, 4).reshape(4, 6, 1).astype(np.uint8) for z in latents]
        return [row.repeat(3, 2) * 30 for row in rows]

    def yes_no(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        return [
            np.array([self._answer(image, question) for question in asked])
            for image, asked in zip(images, questions, strict=True)
        ]

    def _answer(self, image: Image, question: str) -> tuple[float, float]:
        if "broken" in question:
            return float("nan"), 0.5
        taste = _numbers(question, VOCABULARY)
        p_yes = float(np.mean(taste[image[:, :, 0].ravel() // 30]))
        return p_yes, 1.0 - p_yes


class ToyFolderOptions(Options):
    """Options of the toy that reads a checkpoint."""

    path: str = option("", "folder", checkpoint=True)
    device: str = option("cpu", "where it computes")


class ToyFolder(ToyModel):
    """Answers by the number in `taste.json` of its folder."""

    def __init__(self, options: ToyFolderOptions) -> None:
        super().__init__()
        self.taste = json.loads((Path(options.path) / "taste.json").read_text())

    def _answer(self, image: Image, question: str) -> tuple[float, float]:
        p_yes, _ = super()._answer(image, f"{question} {self.taste}")
        return p_yes, 1.0 - p_yes


class ToyContinuous(ToyModel):
    """Gives the same features for a prompt each time; the adapter's bias moves them."""

    kind = "continuous"
    capabilities = frozenset({"chat", "yes_no", "features"})

    def represent(
        self, prompts: Sequence[str], seeds: Sequence[int], sampling: SamplingParams
    ) -> list[Latent]:
        own = (_numbers(prompt, 3 * VOCABULARY).reshape(3, VOCABULARY) for prompt in prompts)
        return [(features + self.bias).astype(np.float32) for features in own]

    def decode(self, latents: Sequence[Latent], seeds: Sequence[int]) -> list[Image]:
        levels = [(4 * h).round().astype(int) + seed for h, seed in zip(latents, seeds, strict=True)]
        return [np.repeat((features.reshape(4, 6, 1) % 8).astype(np.uint8), 3, 2) * 30 for features in levels]


class ToyNoise:
    """Adds noise to features, each candidate from its own seed."""

    def sample(self, model: BaseModel, prompts: Sequence[str], seeds: Sequence[int]) -> list[Latent]:
        plain = model.represent(prompts, seeds, SamplingParams())
        return [
            (h + np.random.default_rng(seed).normal(size=h.shape)).astype(np.float32)
            for h, seed in zip(plain, seeds, strict=True)
        ]


class ToyPrompter:
    """Writes numbered prompts and leaves out what is held out."""

    def write(
        self, model: BaseModel, count: int, seed: int, excluded: Callable[[str], bool]
    ) -> PrompterResult:
        texts = [f"a word{number} thing" for number in range(count + 10)]
        kept = [text for text in texts if not excluded(text)]
        prompts = tuple(Prompt(text, "toy") for text in kept[:count])
        return PrompterResult(prompts, {"excluded": len(texts) - len(kept)})


class ToySampler:
    """Samples from the model as it is."""

    def sample(self, model: BaseModel, prompts: Sequence[str], seeds: Sequence[int]) -> list[Latent]:
        return model.represent(prompts, seeds, SamplingParams())


class ToyQuestioner:
    """Asks two questions about a prompt, and none about a silent one."""

    def ask(self, model: BaseModel, prompts: Sequence[str]) -> list[tuple[Question, ...]]:
        return [
            () if "silent" in prompt
            else (Question(f"is there {prompt}?", prompt), Question(f"is {prompt} whole?"))
            for prompt in prompts
        ]


def mean_difference(answers: np.ndarray) -> float:
    """Return the mean of p(yes) - p(no)."""
    return float(np.mean(answers[:, 0] - answers[:, 1]))


class ToyReward:
    """The brightness of the images, which asks nobody anything."""

    def score(self, candidates: Sequence[Candidate], judge: Any) -> list[float]:
        return [float(np.mean([image.mean() for image in candidate.images])) for candidate in candidates]


class ToyRule:
    """The best against the worst candidate, where they differ."""

    def pairs(self, candidates: Sequence[Candidate]) -> list[Pair]:
        scored = [candidate for candidate in candidates if candidate.score is not None]
        if not scored:
            return []
        best, worst = (function(scored, key=lambda candidate: candidate.score) for function in (max, min))
        return [Pair(best.index, worst.index)] if best.score > worst.score else []


class ToyTrainerOptions(Options):
    """Options of the toy trainer."""

    max_steps: int = option(6, "optimizer steps", unit="steps")


class ToyTrainer:
    """Moves the bias towards chosen tokens, with a checkpoint every second step."""

    def __init__(self, options: ToyTrainerOptions) -> None:
        self.steps = options.max_steps

    def train(self, job: TrainingJob) -> Mapping[str, float]:
        return self._train(job, job.observe)

    def _train(self, job: TrainingJob, observe: Observe) -> Mapping[str, float]:
        model: Any = job.model
        checkpoint = job.work / "checkpoint.json"
        load_adapter(model, job.start)
        step, bias = 0, model.bias
        if checkpoint.exists():
            state = json.loads(checkpoint.read_text())
            step, bias = state["step"], np.array(state["bias"])
        generator = np.random.default_rng(job.seed)
        order = generator.integers(len(job.preferences), size=self.steps)
        metrics = {"loss": float(np.sum(bias**2))}
        while step < self.steps:
            bias = bias + 0.1 * self._direction(job, order[step], step + 1)
            step += 1
            model.bias = bias
            metrics = {"loss": float(np.sum(bias**2)), "total_steps": self.steps}
            observe(step, metrics)
            if step % 2 == 0:
                state = {"step": step, "bias": bias.tolist()}
                atomic_write(checkpoint, to_json(state))
        (job.out / "adapter.json").write_bytes(to_json({"bias": bias.tolist()}))
        return {"loss": metrics["loss"]}

    def _direction(self, job: TrainingJob, position: int, step: int) -> np.ndarray:
        preference = job.preferences[position]
        return sum(
            _counts(preference.latents[chosen]) - _counts(preference.latents[rejected])
            for chosen, rejected in preference.pairs
        )


class ToyOnPolicy(ToyTrainer):
    """Moves the bias towards tokens of its own candidates that score above the mean."""

    def _direction(self, job: TrainingJob, position: int, step: int) -> np.ndarray:
        prompt = job.rollout.prompts[position % len(job.rollout.prompts)]
        (candidates,) = job.rollout([prompt], 4, step)
        scored = [candidate for candidate in candidates if candidate.score is not None]
        mean = np.mean([candidate.score for candidate in scored])
        return sum((candidate.score - mean) * _counts(candidate.latent) for candidate in scored)


class ToyValidatingOptions(ValidationOptions, ToyTrainerOptions):
    """Options of the toy trainer that validates."""


class ToyValidating(ToyTrainer):
    """Trains as the toy trainer does and reports validation scores; step 0 is the reference."""

    def __init__(self, options: ToyValidatingOptions) -> None:
        super().__init__(options)
        self.every = options.validate_every

    def _train(self, job: TrainingJob, observe: Observe) -> Mapping[str, float]:
        validate = job.validate
        load_adapter(job.model, job.start)
        reference = validate() if validate else None

        def note(step: int, metrics: Mapping[str, float]) -> None:
            reported = dict(metrics)
            if reference and validate and step % self.every == 0:
                outcome = validate()
                reported |= {
                    "validation_reference": reference.score, "validation_score": outcome.score,
                    "validation_error": outcome.error, "validation_prompts": float(outcome.prompts),
                }
            observe(step, reported)

        return super()._train(job, note)


def _counts(z: Latent) -> np.ndarray:
    if z.ndim == 2:
        return z.mean(0).astype(float)
    return np.bincount(z, minlength=VOCABULARY).astype(float)


class OwnMeasure(Benchmark):
    """A benchmark for `silmm run` alone: it evaluates by itself, and has no images of its own."""

    name = title = "toy"
    roles: Mapping[str, str] = {}

    def items(self, data: Path, categories: Sequence[str] = ()) -> list[Item]:
        return []

    def fingerprint(self, data: Path) -> Mapping[str, str]:
        return {}

    def protocol(self) -> Mapping[str, Any]:
        return {}

    def find(self, folder: Path, items: Sequence[Item]) -> FolderImages:
        return FolderImages(())

    def target(self, folder: Path, item: Item, index: int) -> Path:
        return folder / item.id

    def requests(self, item: Item) -> Sequence[Request]:
        return ()

    def score(self, judged: Any, mode: Any) -> Mapping[str, Any]:
        return {}

    def columns(self, items: Any, scores: Any, mode: Any) -> list[Any]:
        return []

    def kept_by_content(self, work: Path) -> Sequence[Path]:
        return ()


class ToyBenchmark(OwnMeasure):
    """Holds some prompts out and measures the mean token, before and after."""

    def excluded(self, prompt: str, own_prompts: Collection[str]) -> bool:
        return HELD_OUT in prompt

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
        means: dict[str, float] = {}
        for name, folder in adapters.items():
            done = work / f"{name}.json"
            if done.exists():
                means[name] = json.loads(done.read_text())["mean"]
                continue
            load_adapter(model, folder)
            sampled = model.represent([HELD_OUT] * 8, list(range(8)), SamplingParams())
            means[name] = float(np.mean(sampled))
            atomic_write(done, to_json({"mean": means[name]}))
            progress("evaluate", len(means), len(adapters))
        before, after = means["before"], means[max(name for name in means if name != "before")]
        overall = Difference(before, after, after - before, -8.0, 8.0, 1)
        alone = Difference(before, after, after - before, math.nan, math.nan, 1)
        return EvalResult("toy-bench", "mean token", {"seed": seed}, overall, {"toy": alone})


@hookimpl
def silmm_register_models(register: Any) -> None:
    register(
        "toy", lambda options: ToyModel(), summary="A toy.", kind="discrete",
        capabilities=("chat", "yes_no", "log_likelihood", "nucleus"),
    )
    register(
        "toy-continuous", lambda options: ToyContinuous(), summary="A toy.", kind="continuous",
        capabilities=("chat", "yes_no", "features"),
    )
    register(
        "toy-folder", ToyFolder, summary="A toy.", kind="discrete", options=ToyFolderOptions,
        capabilities=("chat", "yes_no", "log_likelihood", "nucleus"),
    )
    register(
        "toy-blind", lambda options: ToyModel(), summary="A toy.", kind="discrete",
        capabilities=("chat", "log_likelihood", "nucleus"),
    )


@hookimpl
def silmm_register_prompters(register: Any) -> None:
    register("toy", lambda options: ToyPrompter(), summary="Numbered prompts.")


@hookimpl
def silmm_register_samplers(register: Any) -> None:
    register("toy", lambda options: ToySampler(), summary="Plain samples.")
    register("toy-noise", lambda options: ToyNoise(), summary="Noise.", kinds=("continuous",))


@hookimpl
def silmm_register_questioners(register: Any) -> None:
    register("toy", lambda options: ToyQuestioner(), summary="Two questions.")


@hookimpl
def silmm_register_scorers(register: Any) -> None:
    register("toy", lambda options: AnswerScorer(mean_difference), summary="A mean.", options=NoOptions)
    register("toy-reward", lambda options: ToyReward(), summary="Brightness.", needs=["images"])


@hookimpl
def silmm_register_pair_rules(register: Any) -> None:
    register("toy", lambda options: ToyRule(), summary="Best against worst.")


@hookimpl
def silmm_register_trainers(register: Any) -> None:
    register("toy", ToyTrainer, summary="A bias.", options=ToyTrainerOptions)
    register(
        "toy-validating", ToyValidating, summary="A bias, validated.", options=ToyValidatingOptions,
    )
    register("toy-rollout", ToyOnPolicy, summary="On-policy.", options=ToyTrainerOptions, needs=["rollout"])


@hookimpl
def silmm_register_benchmarks(register: Any) -> None:
    register("toy", lambda options: ToyBenchmark(), summary="A mean.")


class ToyTracker:
    """Writes each step's loss into a file of the run directory."""

    def silmm_train_step(self, run: Path, step: int, metrics: Any) -> None:
        with (run / "tracked.txt").open("a") as file:
            file.write(f"{step} {metrics['loss']}\n")


@hookimpl
def silmm_register_trackers(register: Any) -> None:
    register("toy", lambda options: ToyTracker(), summary="A text file.")
