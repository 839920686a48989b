"""Capabilities tell the truth, and every method gives what its contract says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, get_args

import numpy as np
import torch

from silmm.contracts.models import BaseModel, Capability, ChatRequest, Image, SamplingParams, Task
from silmm.errors import SilmmError
from silmm.testing.cases import Cases, Nonconformance, compare, decoded_images, sampled

if TYPE_CHECKING:
    from silmm.registry.registration import Entry

_REFUSALS = (NotImplementedError, SilmmError)
_OF_KIND: Mapping[str, frozenset[str]] = {
    "discrete": frozenset({"log_likelihood", "token_log_likelihood", "nucleus"}),
    "continuous": frozenset({"features", "mlp_blocks", "query_embeddings"}),
}
"""Capabilities that only models of this kind can have."""


def check_registration(entry: Entry, model: BaseModel) -> None:
    """Check that a model is what its registration says, since checks go by that before anything is loaded."""
    if entry.model_kind != model.kind:
        raise Nonconformance(f"{entry.name} is registered as {entry.model_kind} and is {model.kind}")
    if entry.capabilities != model.capabilities:
        registered, own = sorted(entry.capabilities), sorted(model.capabilities)
        raise Nonconformance(f"{entry.name} is registered with the capabilities {registered} and declares {own}")


def check_shapes(model: BaseModel, cases: Cases) -> None:
    """Check types, shapes and order of representations and images, and that prompts are readable."""
    unread = [prompt for prompt in cases.prompts if not model.reads(prompt)]
    if unread:
        raise Nonconformance(f"reads: the model cannot read {unread[0]!r}; give the check other prompts")
    latents = sampled(model, cases)
    dtype, dimensions = (np.int32, 1) if model.kind == "discrete" else (np.float32, 2)
    if len(latents) != len(cases.prompts):
        raise Nonconformance(f"represent: {len(latents)} z for {len(cases.prompts)} prompts")
    for z in latents:
        if z.dtype != dtype or z.ndim != dimensions:
            want = "int32 (L,)" if model.kind == "discrete" else "float32 (L, D)"
            raise Nonconformance(f"represent: z of a {model.kind} model is {want}, not {z.dtype} {z.shape}")
    images = model.decode(latents, cases.seeds)
    if len(images) != len(latents):
        raise Nonconformance(f"decode: {len(images)} images of {len(latents)} z")
    for image in images:
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise Nonconformance(f"decode: an image is uint8 (H, W, 3), not {image.dtype} {image.shape}")


def check_capabilities(model: BaseModel, cases: Cases) -> None:
    """Check that every declared capability works and that every other one is refused.

    A refusal is NotImplementedError or an error of silmm. What is asked of a model without "nucleus" or
    "rewrite" has an answer of its own, so these are checked where they are declared.
    """
    unknown = sorted(model.capabilities - set(get_args(Capability)))
    if unknown:
        raise Nonconformance(f"capabilities: there is none called {unknown[0]!r}")
    foreign = _OF_KIND["continuous" if model.kind == "discrete" else "discrete"] & model.capabilities
    if foreign:
        raise Nonconformance(f"capabilities: a {model.kind} model cannot have {sorted(foreign)[0]!r}")
    images = decoded_images(model, cases)
    uses: Mapping[Capability, Callable[[], None]] = {
        "chat": lambda: _chat(model, cases),
        "yes_no": lambda: _yes_no(model, cases, images),
        "log_likelihood": lambda: _log_likelihood(model, cases),
        "token_log_likelihood": lambda: _token_log_likelihood(model, cases),
        "features": lambda: _features(model, cases),
        "mlp_blocks": lambda: _mlp_blocks(model),
        "query_embeddings": lambda: _query_embeddings(model, cases),
    }
    for capability, use in uses.items():
        if capability in model.capabilities:
            try:
                use()
            except NotImplementedError as error:
                raise Nonconformance(f"capabilities: {capability!r} is declared and missing") from error
        else:
            try:
                use()
            except _REFUSALS:
                continue
            raise Nonconformance(
                f"capabilities: {capability!r} is not declared and works; declare it, or raise "
                "NotImplementedError"
            )
    if "nucleus" in model.capabilities:
        _nucleus(model, cases)
    if "rewrite" in model.capabilities:
        _rewrite(model, cases)


def _chat(model: BaseModel, cases: Cases) -> None:
    replies = model.chat(cases.requests())
    if len(replies) != len(cases.prompts) or not all(isinstance(reply, str) for reply in replies):
        raise Nonconformance("chat: one text for each request")


def _yes_no(model: BaseModel, cases: Cases, images: list[Image]) -> None:
    answers = model.yes_no(images, cases.questions)
    shapes, expected = [a.shape for a in answers], [(len(asked), 2) for asked in cases.questions]
    if shapes != expected:
        raise Nonconformance(f"yes_no: shapes {shapes} should be {expected}")
    for answer in answers:
        if not np.isfinite(answer).all() or (answer < 0).any() or (answer.sum(1) > 1 + 1e-6).any():
            raise Nonconformance("yes_no: p(yes) and p(no) are probabilities that add up to at most 1")


def _log_likelihood(model: BaseModel, cases: Cases) -> None:
    value = model.log_likelihood(cases.prompts, sampled(model, cases))
    if value.dtype != torch.float32 or value.shape != (len(cases.prompts),):
        raise Nonconformance(f"log_likelihood: float32 (batch,), not {value.dtype} {tuple(value.shape)}")
    if not (value < 0).all():
        raise Nonconformance("log_likelihood: a log-probability is below 0")


def _token_log_likelihood(model: BaseModel, cases: Cases) -> None:
    latents = sampled(model, cases)
    value, shape = model.token_log_likelihood(cases.prompts, latents), (len(latents), len(latents[0]))
    if value.dtype != torch.float32 or value.shape != shape:
        raise Nonconformance(f"token_log_likelihood: float32 {shape}, not {value.dtype} {tuple(value.shape)}")
    if (value > 0).any():
        raise Nonconformance("token_log_likelihood: a log-probability is at most 0")


def _features(model: BaseModel, cases: Cases) -> None:
    value = model.features(cases.prompts)
    shape = (len(cases.prompts), *sampled(model, cases)[0].shape)
    if value.shape != shape:
        raise Nonconformance(f"features: H has the shape {tuple(value.shape)}, and z {shape}")


def _mlp_blocks(model: BaseModel) -> None:
    own = {id(module) for module in model.backbone.modules()}
    blocks = model.mlp_blocks()
    if not blocks or any(id(block) not in own or not hasattr(block, "down_proj") for block in blocks):
        raise Nonconformance("mlp_blocks: blocks of the backbone, each with a child down_proj")


@torch.no_grad()
def _query_embeddings(model: BaseModel, cases: Cases) -> None:
    queries = model.query_embeddings()
    plain = model.features(cases.prompts)
    if queries.ndim != 2 or len(queries) != plain.shape[1]:
        raise Nonconformance(
            f"query_embeddings: (L, D_embedding) with L = {plain.shape[1]}, not {tuple(queries.shape)}"
        )
    none = torch.zeros(len(cases.prompts), *queries.shape, device=queries.device, dtype=queries.dtype)
    same = model.features(cases.prompts, none)
    compare(same.float().cpu(), plain.float().cpu(), cases.tolerance, "features: offsets of 0 add nothing")
    moved = model.features(cases.prompts, none + queries.float().std().to(queries.dtype))
    if torch.allclose(moved, plain):
        raise Nonconformance("features: query_offsets change nothing")


def _nucleus(model: BaseModel, cases: Cases) -> None:
    """With top_k 1 no seed has a choice; with a temperature near 0 neither."""
    prompts = [cases.prompts[0]] * 4
    greedy = model.represent(prompts, range(4), SamplingParams(top_k=1))
    if any(not np.array_equal(z, greedy[0]) for z in greedy):
        raise Nonconformance("nucleus: top_k=1 leaves one token, so all seeds sample the same z")
    narrow = model.represent(prompts, range(4), SamplingParams(top_p=1e-6))
    if any(not np.array_equal(z, greedy[0]) for z in narrow):
        raise Nonconformance("nucleus: a top_p near 0 leaves the likeliest token, as top_k=1 does")
    warm = model.represent(prompts, range(4), SamplingParams(temperature=100.0))
    cold = model.represent(prompts, range(4), SamplingParams(temperature=1.0))
    if all(np.array_equal(first, other) for first, other in zip(warm, cold, strict=True)):
        raise Nonconformance("nucleus: a temperature of 100 samples what a temperature of 1 does")


def _rewrite(model: BaseModel, cases: Cases) -> None:
    tasks: tuple[Task, ...] = ("rephrase", "explain")
    for task in tasks:
        replies = model.chat([ChatRequest(task, cases.prompts[0], f"{task.title()} the text.")])
        if not replies[0].strip():
            raise Nonconformance(f"rewrite: the chat task {task!r} has an empty answer")
