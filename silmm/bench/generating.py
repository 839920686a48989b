"""Opens the generator that a user names: a registered one, or a base model with or without an adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image

from silmm.contracts.generators import GenerationFailure, Generator, GeneratorOptions
from silmm.contracts.models import BaseModel, SamplingParams
from silmm.contracts.options import Given, complete, option
from silmm.errors import UsageError
from silmm.lora.loading import load_adapter
from silmm.storage.sha256_cache import file_digests

if TYPE_CHECKING:
    from silmm.registry.registration import Entry
    from silmm.registry.registry import Registry

GENERATOR, MODEL = "generator", "model"
"""KINDs of `--set` for a generator, and for the options of a base model that generates."""
BATCH = 64
"""Prompts in one batch of a base model by default; `silmm run` samples 128 candidates at once."""


class BaseModelGeneratorOptions(GeneratorOptions):
    """How a base model samples for a benchmark."""

    temperature: float = option(1.0, "sampling of image tokens", gt=0)
    top_p: float = option(1.0, "nucleus of image tokens", gt=0, le=1)
    top_k: int = option(0, "most likely image tokens; 0: all", ge=0)
    device: str = option("", "the model's own option; empty: its default")
    adapter: Path | None = option(None, "PEFT folder (of silmm run)")


@dataclass(frozen=True)
class GeneratorChoice:
    """Who generates and how, checked but not opened."""

    spec: str
    entry: Entry
    options: Mapping[str, Any]
    model_options: Mapping[str, Any] | None
    """Complete options of the base model; None for a registered generator."""

    def recorded(self) -> dict[str, Any]:
        """Return the options as JSON-able data for the record beside the images."""
        own = {name: str(value) if isinstance(value, Path) else value for name, value in self.options.items()}
        return own if self.model_options is None else {**own, MODEL: dict(self.model_options)}

    def open(self, registry: Registry) -> Generator:
        """Build the generator.

        Raises:
            UsageError: there is no such place, or an option does not fit it.
            DataError: files of the model or the adapter are broken.
        """
        if self.model_options is None:
            generator: Generator = registry.build(GENERATOR, self.entry.qualified, self.options)
            return generator
        options = BaseModelGeneratorOptions.model_validate(self.options)
        return _open_base_model(self.entry, options, self.model_options, registry)


def choose_generator(
    spec: str, sets: Mapping[str, Mapping[str, str]], registry: Registry
) -> GeneratorChoice:
    """Find the generator of `NAME[:MODEL]` and complete its options; nothing is loaded.

    Args:
        spec: a registered generator with its model, or a base model with its folder.
        sets: options as text, under "generator" and, for a base model, under "model".
        registry: where generators and base models are found.

    Raises:
        UsageError: there is no such generator or option, or an option does not fit the model.
        PluginError: the name is ambiguous, or may belong to a broken plugin.
    """
    name, _, place = spec.partition(":")
    if any(name in (entry.name, entry.qualified) for entry in registry.entries(GENERATOR)):
        entry = registry.entry(GENERATOR, name)
        if sets.get(MODEL):
            raise UsageError(f"--set {MODEL}.… is for base models; --model {spec} takes --set {GENERATOR}.…")
        options = complete(entry.options, f"generator {name!r}", _given(sets, GENERATOR, spec, place))
        return GeneratorChoice(spec, entry, options, None)
    entry = registry.entry("model", name)
    options = complete(BaseModelGeneratorOptions, f"generator {name!r}", _given(sets, GENERATOR, spec))
    if _sampling(options) != SamplingParams() and "nucleus" not in entry.capabilities:
        raise UsageError(f"--model {name} does not sample tokens: leave temperature, top_p and top_k out.")
    return GeneratorChoice(spec, entry, options, _model_options(entry, spec, place, options["device"], sets))


def _given(
    sets: Mapping[str, Mapping[str, str]], kind: str, spec: str, model: str = ""
) -> dict[str, Given]:
    given = {key: Given(value, f"--set {kind}.{key}", text=True) for key, value in sets.get(kind, {}).items()}
    return given | ({"model": Given(model, f"--model {spec}", text=True)} if model else {})


def _model_options(
    entry: Entry, spec: str, place: str, device: str, sets: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    given, known = _given(sets, MODEL, spec), entry.options.model_fields
    if place:
        if "path" not in known:
            raise UsageError(f"--model {spec}: {entry.name} brings its own files; leave the folder out.")
        given["path"] = Given(place, f"--model {spec}", text=True)
    if device:
        if "device" not in known:
            raise UsageError(f"--model {entry.name} has no option 'device'.")
        given["device"] = Given(device, f"--set {GENERATOR}.device", text=True)
    return complete(entry.options, f"model {entry.name!r}", given)


def _sampling(options: Mapping[str, Any]) -> SamplingParams:
    return SamplingParams(options["temperature"], options["top_p"], options["top_k"])


@dataclass
class BaseModelGenerator:
    """Samples z and the decoder's noise from the image's seed."""

    model: BaseModel
    identity: Mapping[str, Any]
    sampling: SamplingParams
    batch_size: int

    def announce(self, images: int) -> str:
        """Say nothing: the images are free."""
        del images
        return ""

    def generate(
        self, prompts: Sequence[str], seeds: Sequence[int]
    ) -> list[PIL.Image.Image | GenerationFailure]:
        """Sample one image for each (prompt, seed); a prompt that the model cannot read has none."""
        read = [place for place, prompt in enumerate(prompts) if self.model.reads(prompt)]
        found: list[PIL.Image.Image | GenerationFailure] = [
            GenerationFailure("unreadable", f"the model cannot read the prompt {prompt!r:.200}")
            for prompt in prompts
        ]
        if not read:
            return found
        own = [seeds[place] for place in read]
        latents = self.model.represent([prompts[place] for place in read], own, self.sampling)
        for place, pixels in zip(read, self.model.decode(latents, own), strict=True):
            found[place] = PIL.Image.fromarray(pixels)
        return found


def _open_base_model(
    entry: Entry, options: BaseModelGeneratorOptions, model_options: Mapping[str, Any], registry: Registry
) -> BaseModelGenerator:
    place = str(model_options.get("path") or "")
    if place and not Path(place).exists():
        raise UsageError(f"--model {entry.name}:{place}: there is no {place}.")
    model: BaseModel = registry.build(MODEL, entry.qualified, model_options)
    load_adapter(model, options.adapter)
    sampling = _sampling(options.model_dump())
    identity = {
        "generator": "base-model",
        "model": entry.qualified,
        "version": entry.version,
        "weights": entry.revision or (_files(Path(place)) if place else ""),
        "options": {name: value for name, value in model_options.items() if name not in ("path", "device")},
        "adapter": _files(options.adapter) if options.adapter else None,
        "sampling": {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k},
        "prompt_rewriting": "none",
    }
    return BaseModelGenerator(model, identity, sampling, options.batch_size or BATCH)


def _files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of the files that hold weights or configuration, by name."""
    kinds = ("*.safetensors", "*.json", "*.bin", "*.pth")
    found = sorted({path for kind in kinds for path in folder.rglob(kind)})
    names = [path.relative_to(folder).as_posix() for path in found]
    return dict(zip(names, file_digests(found), strict=True))
