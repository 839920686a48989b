"""What each kind of component is: the typed contracts that plugins implement and the loop calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

Image: TypeAlias = "npt.NDArray[np.uint8]"
"""An image, uint8 of shape (height, width, 3), RGB."""

Latent: TypeAlias = "npt.NDArray[np.generic]"
"""A representation z: int32 image tokens (L,) if discrete, float32 features (L, D) if continuous."""

Capability = Literal[
    "chat",            # text in, text out
    "yes_no",          # answers yes/no questions about images
    "log_likelihood",  # discrete: trainable log pi(z | x)
    "features",        # continuous: trainable H(x)
    "nucleus",         # represent() accepts temperature, top_p, top_k
    "mlp_blocks",      # continuous: names its MLP blocks (DropDiv)
    "query_embeddings",  # continuous: learnable queries (Noisy DreamEmb)
    "rewrite",         # rewords and details prompts when asked to (chat tasks rephrase and explain)
]

Task = Literal["list", "write", "decompose", "question", "rephrase", "explain"]
"""What a chat request is for; a small model may have its own template for each task."""


@dataclass(frozen=True)
class ChatRequest:
    """One text-only turn: an instruction, in-context examples and the input to answer."""

    task: Task
    input: str
    instruction: str = ""
    examples: tuple[tuple[str, str], ...] = ()
    temperature: float = 0.0
    """0 is greedy."""
    seed: int = 0
    max_words: int = 128


@dataclass(frozen=True)
class SamplingParams:
    """How to sample from a model's own distribution; the defaults are plain sampling."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    """0 is off."""


class BaseModel(ABC):
    """An image-generating multimodal model behind one door.

    All batch methods keep the order of their inputs, and each result depends on its own inputs and seed
    alone, never on what else is in the batch (promise 4 of the design).
    """

    kind: Literal["discrete", "continuous"]
    capabilities: frozenset[Capability]
    backbone: torch.nn.Module
    """The text backbone, the only part that is ever trained; peft wraps it in place."""
    lora_targets: str
    """An anchored regular expression over the backbone's module names."""

    @abstractmethod
    def chat(self, requests: Sequence[ChatRequest]) -> list[str]:
        """Answer each request with text."""

    @abstractmethod
    def represent(
        self, prompts: Sequence[str], seeds: Sequence[int], sampling: SamplingParams
    ) -> list[Latent]:
        """Sample one representation z for each prompt from that candidate's own seed.

        A continuous model returns its H(x), which is the same for every seed and every `sampling`.
        """

    @abstractmethod
    def decode(self, latents: Sequence[Latent], seeds: Sequence[int]) -> list[Image]:
        """Turn each z into an image with the frozen decoder; `seeds` feed decoder noise, if it has any.

        The loop gives all candidates of a prompt the same seed, so that they differ by z alone
        (method.md, step 2).
        """

    @abstractmethod
    def yes_no(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[npt.NDArray[np.float64]]:
        """Answer each image's questions: one (n_questions, 2) array of p(yes), p(no) an image."""

    def reads(self, prompt: str) -> bool:  # noqa: ARG002 - for models that override it
        """Say whether the model can sample `prompt` and be asked about it; others are dropped and counted."""
        return True

    def log_likelihood(self, prompts: Sequence[str], latents: Sequence[Latent]) -> torch.Tensor:
        """Return log pi(z | x), shape (batch,), float32, differentiable in the backbone.

        The softmax is over the tokens that may be sampled at each position, without guidance (method.md, DPO).
        """
        raise NotImplementedError(f"{type(self).__name__} does not declare 'log_likelihood'")

    def features(
        self, prompts: Sequence[str], query_offsets: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return H of shape (batch, L, D), differentiable in the backbone (continuous models).

        One forward pass over exactly these prompts, row i for prompt i, the L query positions last and
        any padding on the left: samplers that hook into :meth:`mlp_blocks` rely on it.

        Args:
            prompts: the prompts.
            query_offsets: added to the query embeddings, (batch, L, D_embedding); None adds nothing.
        """
        raise NotImplementedError(f"{type(self).__name__} does not declare 'features'")

    def mlp_blocks(self) -> Sequence[torch.nn.Module]:
        """Return the MLP block of each decoder layer, first to last; their outputs are (batch, time, D).

        A block has a child `down_proj`, the last linear map, whose input is the block's inner state.
        """
        raise NotImplementedError(f"{type(self).__name__} does not declare 'mlp_blocks'")

    def query_embeddings(self) -> torch.Tensor:
        """Return the learnable queries, (L, D_embedding)."""
        raise NotImplementedError(f"{type(self).__name__} does not declare 'query_embeddings'")


@dataclass(frozen=True)
class Prompt:
    """A prompt of the run with its category (one of the paper's, or the file's own)."""

    text: str
    category: str


class Prompter(Protocol):
    """Step 1: makes the prompts of an iteration."""

    def write(
        self, model: BaseModel, count: int, seed: int, excluded: Callable[[str], bool]
    ) -> PrompterResult:
        """Return `count` distinct prompts, none of which `excluded` says is held out for evaluation."""
        ...


@dataclass(frozen=True)
class PrompterResult:
    """The prompts and the counts of what was thrown away, for the report."""

    prompts: tuple[Prompt, ...]
    rejected: Mapping[str, int]
    """Reason -> count, for example duplicate, excluded, malformed."""


class Sampler(Protocol):
    """Step 2: samples diverse representations.

    A sampler may keep a `dropped: Counter[str]` of what it could not use and why, over all its calls; the
    stage writes the counts of each shard beside its table.
    """

    def sample(
        self, model: BaseModel, prompts: Sequence[str], seeds: Sequence[int]
    ) -> list[Latent]:
        """Sample one z for each (prompt, seed) pair; the same prompt comes many times with many seeds.

        Features are sampled a second time, from the same seeds, for the candidates that pairs use.
        """
        ...


@dataclass(frozen=True)
class Question:
    """A yes/no question and the statement it asks about."""

    text: str
    statement: str = ""


class Questioner(Protocol):
    """Step 3: turns each prompt into yes/no questions.

    A questioner may keep a `dropped: Counter[str]` of what it threw away and why, over all its calls; the
    stage writes the counts of each shard beside its table.
    """

    def ask(self, model: BaseModel, prompts: Sequence[str]) -> list[tuple[Question, ...]]:
        """Return the questions of each prompt; an empty tuple is counted and the prompt left out."""
        ...


class Scorer(Protocol):
    """Step 4: turns the model's own answers into one score for each image."""

    def score(self, p_yes_no: npt.NDArray[np.float64], seed: int) -> float:
        """Score one image from its (n_questions, 2) array of p(yes), p(no) (Eq. 1).

        Raises:
            ValueError: no questions, or a probability that is not finite.
        """
        ...


class Aggregation(Protocol):
    """The first half of a kernel: pools features over their positions, (…, L, D) to (…, L', D)."""

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Return the pooled features; L' is 1 where a single vector is left, and L for no pooling."""
        ...


class Distance(Protocol):
    """The second half of a kernel: how far two pooled feature matrices are apart; 0 means equal."""

    def __call__(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return the distance over the last two dimensions (L', D), broadcasting the others; float32."""
        ...


class Kernel(Protocol):
    """A generalised distance k between feature matrices (Eq. 6): small means alike.

    The registry composes it of an aggregation and a distance: `avgpool-cos`; `cos` is the distance alone.
    """

    def __call__(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return k(a, b) over the last two dimensions (L, D), broadcasting the others, in float32."""
        ...


class PairRule(Protocol):
    """Step 5: picks chosen and rejected candidates of one prompt."""

    def pairs(self, scores: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
        """Return (chosen, rejected) candidate indices; `scores` is NaN where a candidate has none."""
        ...


@dataclass(frozen=True)
class Preference:
    """All that the trainer needs of one prompt: its candidates and the pairs among them."""

    prompt: str
    latents: Sequence[Latent]
    """Only candidates that some pair uses; kept features are read from the disk at each touch."""
    pairs: tuple[tuple[int, int], ...]
    """(chosen, rejected) positions in `latents`."""


class Trainer(Protocol):
    """Step 5: tunes LoRA weights on the preferences."""

    def train(
        self,
        model: BaseModel,
        preferences: Sequence[Preference],
        *,
        start: Path | None,
        out: Path,
        work: Path,
        seed: int,
        observe: Callable[[int, Mapping[str, float]], None],
    ) -> Mapping[str, float]:
        """Train from adapter `start` (None: a fresh one) and write a PEFT folder `out`.

        The model as it stands with `start` is the reference. `work` holds training checkpoints and stored
        reference values: called again after a kill, training goes on from there to the same result.
        `observe(step, metrics)` is called after each optimizer step, before a checkpoint of it is
        stored, so that a resumed training misses no step. Returns final metrics.
        """
        ...


@dataclass(frozen=True)
class ValidationScore:
    """The model's own score on prompts that the training does not see."""

    score: float
    """The mean over the prompts."""
    error: float
    """Its standard error over the prompts."""
    prompts: int
    """How many have a score."""


Validate: TypeAlias = Callable[[], ValidationScore]
"""Scores the model with the weights that it carries at the moment; equal weights give equal scores."""


class ValidatingTrainer(Trainer, Protocol):
    """A trainer that looks at held-out prompts on its way: registered with ``accepts=["validate"]``.

    Its options are a ``ValidationOptions``. Other trainers are called without the keyword.
    """

    def train(
        self,
        model: BaseModel,
        preferences: Sequence[Preference],
        *,
        start: Path | None,
        out: Path,
        work: Path,
        seed: int,
        observe: Callable[[int, Mapping[str, float]], None],
        validate: Validate | None = None,
    ) -> Mapping[str, float]:
        """Train as :meth:`Trainer.train` does, and call `validate` every `validate_every` steps.

        The score is the metric `validation_score` of the step. With several processes rank 0 alone calls
        it and tells the others. None: there is nothing to validate on.
        """
        ...
