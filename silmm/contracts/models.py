"""What a base model is, and the contracts of trainers and benchmarks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from jaxtyping import Float
    from torch import Tensor

Image: TypeAlias = "npt.NDArray[np.uint8]"
"""An image, uint8 of shape (height, width, 3), RGB."""

Latent: TypeAlias = "npt.NDArray[np.generic]"
"""A representation z: int32 image tokens (L,) if discrete, float32 features (L, D) if continuous."""

Capability = Literal[
    "chat",            # text in, text out
    "yes_no",          # answers yes/no questions about images
    "log_likelihood",  # discrete: trainable log pi(z | x)
    "token_log_likelihood",  # discrete: the same token by token
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
        (docs/spec/method.md, step 2).
        """

    @abstractmethod
    def yes_no(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[npt.NDArray[np.float64]]:
        """Answer each image's questions: one (n_questions, 2) array of p(yes), p(no) an image."""

    def reads(self, prompt: str) -> bool:  # noqa: ARG002 - for models that override it
        """Say whether the model can sample `prompt` and be asked about it; others are dropped and counted."""
        return True

    def log_likelihood(self, prompts: Sequence[str], latents: Sequence[Latent]) -> Float[Tensor, " batch"]:
        """Return log pi(z | x), shape (batch,), float32, differentiable in the backbone.

        The sum of :meth:`token_log_likelihood`, which a model may implement in its place.
        """
        return self.token_log_likelihood(prompts, latents).sum(-1)

    def token_log_likelihood(
        self, prompts: Sequence[str], latents: Sequence[Latent]
    ) -> Float[Tensor, "batch tokens"]:
        """Return log pi(z_t | z_<t, x), shape (batch, tokens), float32, differentiable in the backbone.

        The softmax is over the tokens that may be sampled at each position, without guidance
        (docs/spec/method.md, DPO).
        """
        raise NotImplementedError(f"{type(self).__name__} does not declare 'token_log_likelihood'")

    def features(
        self, prompts: Sequence[str], query_offsets: Float[Tensor, "batch length embedding"] | None = None
    ) -> Float[Tensor, "batch length dim"]:
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

    def query_embeddings(self) -> Float[Tensor, "length embedding"]:
        """Return the learnable queries, (L, D_embedding)."""
        raise NotImplementedError(f"{type(self).__name__} does not declare 'query_embeddings'")


@dataclass(frozen=True)
class Preference:
    """All that the trainer needs of one prompt: its candidates and the pairs among them."""

    prompt: str
    latents: Sequence[Latent]
    """Only candidates that some pair uses; kept features are read from the disk at each touch."""
    pairs: tuple[tuple[int, int], ...]
    """(chosen, rejected) positions in `latents`."""
    weights: tuple[float, ...] = ()
    """What each pair counts in the loss, above 0; 1 per pair where none are given."""
    scores: tuple[float | None, ...] = ()
    """The score of each of the `latents`; None where it is not known."""

    def __post_init__(self) -> None:
        """Fill in weights and scores that are not given."""
        object.__setattr__(self, "weights", self.weights or (1.0,) * len(self.pairs))
        object.__setattr__(self, "scores", self.scores or (None,) * len(self.latents))


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
