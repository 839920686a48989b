"""What a checkpoint says of itself, and whether it works: two prompts through all that a run asks of a model.

`silmm probe` shows it. With real weights it settles what a plugin's author could not see, and a bug report
should hold it.
"""

from __future__ import annotations

import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from silmm.errors import SilmmError, UsageError
from silmm.interfaces import BaseModel, ChatRequest, Drawing, Image, Latent
from silmm.options import Given, complete, split_assignment

if TYPE_CHECKING:
    import torch

    from silmm.registration import Entry
    from silmm.registry import Registry

PROMPTS = ("a red circle", "a blue square and a red circle")
QUESTIONS = ("is there a red circle?", "is there a circle?")
_PACKAGES = ("silmm", "torch", "transformers", "diffusers", "peft")
_BYTES_PER_MB = 1e6
_FLOAT32_TOLERANCE = 1e-3
_HALF_TOLERANCE = 5e-2
"""What a likelihood or H may differ by in a batch, relative to 1 + its size."""

State = Literal["ok", "warn", "fail"]


@runtime_checkable
class Probed(Protocol):
    """A base model that says what its checkpoint holds."""

    def probe(self) -> Mapping[str, Any]:
        """Return JSON-able facts by section: special-token ids, ids of yes and no, templates, shapes, ….

        The section ``problems`` holds texts, each of which counts as a failed check: missing keys, ids that
        the tokenizer and the configuration do not agree on.
        """
        ...


@dataclass(frozen=True)
class Finding:
    """One check: "warn" is worth a look, "fail" means that a run cannot work."""

    name: str
    state: State
    detail: str
    seconds: float = 0.0


@dataclass
class Probe:
    """All that was found."""

    model: str
    options: Mapping[str, Any]
    facts: dict[str, Any]
    findings: list[Finding] = field(default_factory=list)
    pictures: list[Image] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether no check failed."""
        return all(finding.state != "fail" for finding in self.findings)

    def as_object(self) -> dict[str, Any]:
        """Return JSON-able data, without the pictures."""
        return {
            "ok": self.sound,
            "model": self.model,
            "options": dict(self.options),
            "facts": self.facts,
            "checks": [asdict(finding) for finding in self.findings],
        }


def model_options(registry: Registry, name: str, sets: Sequence[str]) -> dict[str, Any]:
    """Return all options of a model, with those of texts ``model.OPTION=VALUE``.

    Raises:
        UsageError: another kind than "model", an unknown option, or a value that is not accepted.
    """
    given: dict[str, Given] = {}
    for text in sets:
        kind, option, value = split_assignment(text)
        if kind != "model":
            raise UsageError(f"--set {text}: a probe takes options of the model only, as model.device=cpu")
        given[option] = Given(value, f"--set {text}", text=True)
    return complete(registry.entry("model", name).options, f"model {name!r}", given)


def probe(
    registry: Registry, name: str, options: Mapping[str, Any], prompts: Sequence[str] = PROMPTS
) -> Probe:
    """Load a model and put two prompts through it.

    Args:
        registry: where the model is found.
        name: its name.
        options: its options, complete.
        prompts: two prompts that it can read.

    Raises:
        UsageError: there is no such model, or not two prompts.
        SilmmError: the model does not load; the message is the plugin's own.
    """
    if len(prompts) != 2 or prompts[0] == prompts[1]:
        raise UsageError(f"a probe takes two different prompts, not {len(prompts)}; give --prompt twice")
    entry = registry.entry("model", name)
    start = time.perf_counter()
    model: BaseModel = registry.build("model", entry.qualified, options)
    seconds = time.perf_counter() - start
    found = Probe(entry.qualified, options, _facts(entry, model))
    told = f"{_parameters(model):,} parameters in the backbone"
    found.findings.append(Finding("load", "ok", told, seconds))
    _registered(entry, model, found)
    _own_facts(model, found)
    _smoke(model, prompts, found)
    found.facts["peak memory, MB"] = _peak_memory()
    return found


def _facts(entry: Entry, model: BaseModel) -> dict[str, Any]:
    parameter = next(model.backbone.parameters())
    return {
        "kind": model.kind,
        "capabilities": sorted(model.capabilities),
        "plugin": f"{entry.distribution} {entry.version}",
        "backbone": type(model.backbone).__name__,
        "parameters": _parameters(model),
        "dtype": str(parameter.dtype).removeprefix("torch."),
        "device": str(parameter.device),
        "lora_targets": model.lora_targets,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _parameters(model: BaseModel) -> int:
    return sum(parameter.numel() for parameter in model.backbone.parameters())


def _registered(entry: Entry, model: BaseModel, found: Probe) -> None:
    agree = (entry.model_kind, entry.capabilities) == (model.kind, model.capabilities)
    told = "kind and capabilities are those that it is registered with"
    found.findings.append(
        Finding("registration", "ok", told) if agree else
        Finding("registration", "fail", f"registered as {entry.model_kind} with {sorted(entry.capabilities)}")
    )


def _own_facts(model: BaseModel, found: Probe) -> None:
    if not isinstance(model, Probed):
        found.findings.append(Finding("checkpoint", "ok", "the plugin tells nothing of it (no method probe)"))
        return
    try:
        own = dict(model.probe())
    except Exception as error:  # whatever a plugin's probe raises is the finding
        found.findings.append(Finding("checkpoint", "fail", _told(error)))
        return
    problems = [str(problem) for problem in own.pop("problems", ())]
    found.facts["checkpoint"] = own
    found.findings += [Finding("checkpoint", "fail", problem) for problem in problems]
    if not problems:
        found.findings.append(Finding("checkpoint", "ok", f"tells {', '.join(own) or 'nothing'}"))


def _smoke(model: BaseModel, prompts: Sequence[str], found: Probe) -> None:
    """Do what a run does, one thing after the other; what fails ends it."""
    latents: list[Latent] = []

    def read() -> Finding | str:
        unread = [prompt for prompt in prompts if not model.reads(prompt)]
        if unread:
            raise UsageError(f"the model cannot read {unread[0]!r}; give two others with --prompt")
        return "both prompts"

    def represent() -> Finding | str:
        latents.extend(model.represent(prompts, [0, 1], Drawing()))
        z = latents[0]
        return f"z is {z.dtype} {z.shape}, {z.nbytes} bytes a candidate"

    def decode() -> Finding | str:
        found.pictures.extend(model.decode(latents, [0, 0]))
        height, width, _ = found.pictures[0].shape
        flat = [i for i, image in enumerate(found.pictures) if image.min() == image.max()]
        told = f"{width}x{height} pixels"
        return Finding("decode", "warn", f"{told}; picture {flat[0]} has one colour") if flat else told

    def yes_no() -> Finding | str:
        answers = model.yes_no(found.pictures, [list(QUESTIONS)] * 2)
        mass = [float(pair.sum()) for one in answers for pair in one]
        told = f"p(yes) {', '.join(f'{pair[0]:.3f}' for one in answers for pair in one)}"
        if not all(0 <= value <= 1 + 1e-6 for value in mass):
            raise ValueError(f"p(yes) + p(no) is {mass}, no probability")
        told += f"; p(yes) + p(no) at least {min(mass):.3f}"
        return told if min(mass) >= 0.1 else Finding(
            "yes_no", "warn", told + ": little of the answer is yes or no; check the template and the ids"
        )

    def chat() -> Finding | str:
        request = ChatRequest("decompose", prompts[1], "Name the things in the text.", max_words=24)
        reply = model.chat([request])[0]
        return f"{reply!r:.120}" if reply.strip() else Finding("chat", "warn", "an empty answer")

    steps: list[tuple[str, Callable[[], Finding | str]]] = [
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
        start = time.perf_counter()
        try:
            result = step()
        except Exception as error:  # the finding of a probe is whatever the model raises
            found.findings.append(Finding(name, "fail", _told(error), time.perf_counter() - start))
            if not found.pictures:
                return  # the rest needs z and pictures
            continue
        seconds = time.perf_counter() - start
        if isinstance(result, str):
            result = Finding(name, "ok", result)
        found.findings.append(Finding(name, result.state, result.detail, seconds))


def _value(model: BaseModel, prompts: Sequence[str], latents: Sequence[Latent]) -> torch.Tensor:
    """Return log pi(z|x), (batch,), or H, (batch, L, D)."""
    if "log_likelihood" in model.capabilities:
        return model.log_likelihood(prompts, latents)
    return model.features(prompts)


def _alone_and_together(model: BaseModel, prompts: Sequence[str], latents: Sequence[Latent]) -> Finding | str:
    """Compare what training needs of each prompt alone with a padded batch of both."""
    import torch

    with torch.no_grad():
        together = _value(model, prompts, latents).double()
        alone = torch.cat([
            _value(model, [prompt], [z]).double() for prompt, z in zip(prompts, latents, strict=True)
        ])
    worst = float(((together - alone).abs() / (1 + alone.abs())).max())
    half = next(model.backbone.parameters()).dtype != torch.float32
    allowed = _HALF_TOLERANCE if half else _FLOAT32_TOLERANCE
    told = f"alone and in a batch differ by {worst:.1e} of 1 + the value (allowed {allowed:g})"
    if not worst <= allowed:
        return Finding("batch", "fail", told + ": padding changes the result")
    return told


def _train_step(model: BaseModel, prompts: Sequence[str], latents: Sequence[Latent]) -> Finding | str:
    """Put a fresh adapter on: nothing changes, and gradients reach its weights."""
    import torch

    from silmm.adapters import detach, new_adapter, trainable_parameters

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
    told = f"LoRA on {modules} modules, gradients reach {reached}; a fresh adapter changes {moved:.1e}"
    return told if reached == modules and moved == 0 else Finding("train step", "fail", told)


def _peak_memory() -> dict[str, float]:
    import torch

    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is bytes there, KiB on Linux
    peak = {"process": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _BYTES_PER_MB, 1)}
    for number in range(torch.cuda.device_count()):
        peak[f"cuda:{number}"] = round(torch.cuda.max_memory_allocated(number) / _BYTES_PER_MB, 1)
    return peak


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, SilmmError) else f"{type(error).__name__}: {error}"
