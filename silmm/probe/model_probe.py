"""Probes a base model: two prompts through every call that a run makes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from silmm.contracts.models import BaseModel, ChatRequest, Latent, SamplingParams
from silmm.errors import UsageError
from silmm.probe.findings import Finding, Probe, Step, environment, error_text

if TYPE_CHECKING:
    import torch

    from silmm.registry.registration import Entry

PROMPTS = ("a red circle", "a blue square and a red circle")
QUESTIONS = ("is there a red circle?", "is there a circle?")
_FLOAT32_TOLERANCE = 1e-3
_HALF_TOLERANCE = 5e-2
"""Largest difference of a likelihood or H in a batch, relative to 1 + its size."""


@runtime_checkable
class Probed(Protocol):
    """A base model that reports the content of its checkpoint."""

    def probe(self) -> Mapping[str, Any]:
        """Return JSON-able facts by section: special-token ids, ids of yes and no, templates, shapes, ….

        The section ``problems`` holds texts, each of which counts as a failed check: missing keys, ids on which the
        tokenizer and the configuration disagree.
        """
        ...


def probe_model(
    entry: Entry, build: Callable[[], BaseModel], result: Probe, prompts: Sequence[str] = PROMPTS
) -> None:
    """Load a model and use it on two prompts.

    Args:
        entry: its registration.
        build: builds it.
        result: collects facts and findings.
        prompts: two prompts that it can read.

    Raises:
        UsageError: these are not two different prompts.
        SilmmError: the model does not load; the message is the plugin's own.
    """
    if len(prompts) != 2 or prompts[0] == prompts[1]:
        raise UsageError(f"a probe takes two different prompts, not {len(prompts)}; give --prompt twice")
    start = time.perf_counter()
    model = build()
    seconds = time.perf_counter() - start
    result.facts |= _facts(entry, model)
    loaded = f"{_parameters(model):,} parameters in the backbone"
    result.findings.append(Finding("load", "ok", loaded, seconds))
    _registered(entry, model, result)
    _own_facts(model, result)
    _smoke(model, prompts, result)


def _facts(entry: Entry, model: BaseModel) -> dict[str, Any]:
    parameter = next(model.backbone.parameters())
    return {
        "kind": model.kind,
        "capabilities": sorted(model.capabilities),
        "backbone": type(model.backbone).__name__,
        "parameters": _parameters(model),
        "dtype": str(parameter.dtype).removeprefix("torch."),
        "device": str(parameter.device),
        "lora_targets": model.lora_targets,
        **environment(entry),
    }


def _parameters(model: BaseModel) -> int:
    return sum(parameter.numel() for parameter in model.backbone.parameters())


def _registered(entry: Entry, model: BaseModel, result: Probe) -> None:
    agree = (entry.model_kind, entry.capabilities) == (model.kind, model.capabilities)
    result.findings.append(
        Finding("registration", "ok", "kind and capabilities are those of its registration") if agree else
        Finding("registration", "fail", f"registered as {entry.model_kind} with {sorted(entry.capabilities)}")
    )


def _own_facts(model: BaseModel, result: Probe) -> None:
    if not isinstance(model, Probed):
        result.findings.append(Finding("checkpoint", "ok", "the plugin reports nothing about it (no method probe)"))
        return
    try:
        reported = model.probe()
    except Exception as error:  # whatever a plugin's probe raises is the finding
        result.findings.append(Finding("checkpoint", "fail", error_text(error)))
        return
    result.report("checkpoint", reported)


def _smoke(model: BaseModel, prompts: Sequence[str], result: Probe) -> None:
    """Make the calls of a run one after the other; the first without images ends it."""
    latents: list[Latent] = []

    def read() -> Finding | str:
        unread = [prompt for prompt in prompts if not model.reads(prompt)]
        if unread:
            raise UsageError(f"the model cannot read {unread[0]!r}; give two others with --prompt")
        return "both prompts"

    def represent() -> Finding | str:
        latents.extend(model.represent(prompts, [0, 1], SamplingParams()))
        z = latents[0]
        return f"z is {z.dtype} {z.shape}, {z.nbytes} bytes per candidate"

    def decode() -> Finding | str:
        result.images.extend(model.decode(latents, [0, 0]))
        height, width, _ = result.images[0].shape
        flat = [i for i, image in enumerate(result.images) if image.min() == image.max()]
        size = f"{width}x{height} pixels"
        return Finding("decode", "warn", f"{size}; image {flat[0]} has one colour") if flat else size

    def yes_no() -> Finding | str:
        answers = model.yes_no(result.images, [list(QUESTIONS)] * 2)
        pairs = [pair for image_answers in answers for pair in image_answers]
        mass = [float(pair.sum()) for pair in pairs]
        detail = f"p(yes) {', '.join(f'{pair[0]:.3f}' for pair in pairs)}"
        if not all(0 <= value <= 1 + 1e-6 for value in mass):
            raise ValueError(f"p(yes) + p(no) is {mass}, not a probability")
        detail += f"; p(yes) + p(no) at least {min(mass):.3f}"
        return detail if min(mass) >= 0.1 else Finding(
            "yes_no", "warn", detail + ": little of the answer is yes or no; check the template and the ids"
        )

    def chat() -> Finding | str:
        request = ChatRequest("decompose", prompts[1], "Name the things in the text.", max_words=24)
        reply = model.chat([request])[0]
        return f"{reply!r:.120}" if reply.strip() else Finding("chat", "warn", "an empty answer")

    steps: list[tuple[str, Step]] = [
        ("reads", read), ("represent", represent), ("decode", decode),
    ]
    if "yes_no" in model.capabilities:
        steps.append(("yes_no", yes_no))
    if "chat" in model.capabilities:
        steps.append(("chat", chat))
    if {"log_likelihood", "features"} & model.capabilities:
        steps += [
            ("batch", lambda: _alone_and_together(model, prompts, latents)),
            ("train step", lambda: _train_step(model, prompts, latents)),
        ]
    for name, step in steps:
        if not result.attempt(name, step) and not result.images:
            return  # the remaining steps need z and images


def _value(model: BaseModel, prompts: Sequence[str], latents: Sequence[Latent]) -> torch.Tensor:
    """Return log pi(z|x), (batch,), or H, (batch, L, D)."""
    if "log_likelihood" in model.capabilities:
        return model.log_likelihood(prompts, latents)
    return model.features(prompts)


def _alone_and_together(model: BaseModel, prompts: Sequence[str], latents: Sequence[Latent]) -> Finding | str:
    """Compare likelihoods or features of each prompt alone with those in a padded batch of both."""
    import torch

    with torch.no_grad():
        together = _value(model, prompts, latents).double()
        alone = torch.cat([
            _value(model, [prompt], [z]).double() for prompt, z in zip(prompts, latents, strict=True)
        ])
    worst = float(((together - alone).abs() / (1 + alone.abs())).max())
    half = next(model.backbone.parameters()).dtype != torch.float32
    allowed = _HALF_TOLERANCE if half else _FLOAT32_TOLERANCE
    detail = f"alone and in a batch differ by {worst:.1e} of 1 + the value (allowed {allowed:g})"
    if not worst <= allowed:
        return Finding("batch", "fail", detail + ": padding changes the result")
    return detail


def _train_step(model: BaseModel, prompts: Sequence[str], latents: Sequence[Latent]) -> Finding | str:
    """Attach a fresh adapter: nothing changes, and gradients reach its weights."""
    import torch

    from silmm.lora.adapters import detach, new_adapter, trainable_parameters

    with torch.no_grad():
        reference = _value(model, prompts, latents).double()
    new_adapter(model, rank=4, alpha=4.0, seed=0)
    try:
        weights = trainable_parameters(model)
        value = _value(model, prompts, latents)
        moved = float((value.detach().double() - reference).abs().max())
        torch.autograd.backward(value.float().square().sum())
        reached = sum(p.grad is not None and bool(p.grad.any()) for n, p in weights.items() if "lora_B" in n)
    finally:
        for parameter in model.backbone.parameters():
            parameter.requires_grad_(False)
            parameter.grad = None
        detach(model)
    modules = len(weights) // 2
    detail = f"LoRA on {modules} modules, gradients reach {reached}; a fresh adapter changes {moved:.1e}"
    return detail if reached == modules and moved == 0 else Finding("train step", "fail", detail)
