"""Opens the generator that a user names: a registered one, or a base model with or without an adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

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
LOCAL_OPTIONS = frozenset({"path", "device"})
"""Options of a base model that say where it is and computes, not what it is."""


class BaseModelGeneratorOptions(GeneratorOptions):
    """How a base model samples for a benchmark."""

    temperature: float = option(1.0, "sampling of image tokens", gt=0)
    top_p: float = option(1.0, "nucleus of image tokens", gt=0, le=1)
    top_k: int = option(0, "most likely image tokens; 0: all", ge=0)
    device: str = option("", "the model's own option; empty: its default")
    adapter: Path | None = option(None, "PEFT folder (of silmm run)")


class GeneratorSource(Protocol):
    """A generator that can be opened, for the runner."""

    @property
    def spec(self) -> str:
        """Its name in the record of the images."""
        ...

    def recorded(self) -> dict[str, Any]:
        """Return its options as JSON-able data for the record beside the images."""
        ...

    def open(self, registry: Registry) -> Generator:
        """Build the generator."""
        ...


@dataclass(frozen=True)
class GeneratorChoice:
    """The generator that a user named, with checked options, not opened."""

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
            UsageError: the folder does not exist, or an option does not fit.
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
    name, _, path = spec.partition(":")
    if any(name in (entry.name, entry.qualified) for entry in registry.entries(GENERATOR)):
        entry = registry.entry(GENERATOR, name)
        if sets.get(MODEL):
            raise UsageError(f"--set {MODEL}.… is for base models; --model {spec} takes --set {GENERATOR}.…")
        options = complete(entry.options, f"generator {name!r}", _from_sets(sets, GENERATOR, spec, path))
        return GeneratorChoice(spec, entry, options, None)
    entry = registry.entry("model", name)
    options = complete(BaseModelGeneratorOptions, f"generator {name!r}", _from_sets(sets, GENERATOR, spec))
    require_sampling(entry, sampling_params(options))
    return GeneratorChoice(spec, entry, options, _model_options(entry, spec, path, options["device"], sets))


def require_sampling(entry: Entry, sampling: SamplingParams) -> None:
    """Refuse sampling parameters for a model that samples no tokens.

    Raises:
        UsageError: they are not plain sampling, and the model does not declare `nucleus`.
    """
    if sampling != SamplingParams() and "nucleus" not in entry.capabilities:
        raise UsageError(
            f"--model {entry.name} does not sample tokens: leave temperature, top_p and top_k at their defaults."
        )


def sampling_params(options: Mapping[str, Any]) -> SamplingParams:
    """Return the sampling parameters among the options of a generator or a benchmark."""
    return SamplingParams(options["temperature"], options["top_p"], options["top_k"])


def _from_sets(
    sets: Mapping[str, Mapping[str, str]], kind: str, spec: str, model: str = ""
) -> dict[str, Given]:
    values = {key: Given(value, f"--set {kind}.{key}", text=True) for key, value in sets.get(kind, {}).items()}
    return values | ({"model": Given(model, f"--model {spec}", text=True)} if model else {})


def _model_options(
    entry: Entry, spec: str, path: str, device: str, sets: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    values, fields = _from_sets(sets, MODEL, spec), entry.options.model_fields
    if path:
        if "path" not in fields:
            raise UsageError(f"--model {spec}: {entry.name} brings its own files; leave the folder out.")
        values["path"] = Given(path, f"--model {spec}", text=True)
    if device:
        if "device" not in fields:
            raise UsageError(f"--model {entry.name} has no option 'device'.")
        values["device"] = Given(device, f"--set {GENERATOR}.device", text=True)
    return complete(entry.options, f"model {entry.name!r}", values)


@dataclass
class BaseModelGenerator:
    """Samples z and the decoder's noise from the image's seed."""

    model: BaseModel
    identity: Mapping[str, Any]
    sampling: SamplingParams
    batch_size: int

    def announce(self, images: int) -> str:
        """Return "": the images cost nothing."""
        del images
        return ""

    def generate(
        self, prompts: Sequence[str], seeds: Sequence[int]
    ) -> list[PIL.Image.Image | GenerationFailure]:
        """Sample one image for each (prompt, seed); a prompt that the model cannot read has none."""
        readable = [index for index, prompt in enumerate(prompts) if self.model.reads(prompt)]
        images: list[PIL.Image.Image | GenerationFailure] = [
            GenerationFailure("unreadable", f"the model cannot read the prompt {prompt!r:.200}")
            for prompt in prompts
        ]
        if not readable:
            return images
        own_seeds = [seeds[index] for index in readable]
        latents = self.model.represent([prompts[index] for index in readable], own_seeds, self.sampling)
        for index, pixels in zip(readable, self.model.decode(latents, own_seeds), strict=True):
            images[index] = PIL.Image.fromarray(pixels)
        return images


def base_model_identity(
    entry: Entry, model_options: Mapping[str, Any], sampling: SamplingParams, *, weights: Any, adapter: Any
) -> dict[str, Any]:
    """Return everything that the images of a base model depend on.

    Args:
        entry: the model's registration.
        model_options: its options, complete.
        sampling: of image tokens.
        weights: content ids of its files.
        adapter: those of the adapter on it, or None.
    """
    return {
        "generator": "base-model",
        "model": entry.qualified,
        "version": entry.version,
        "weights": weights,
        "options": {name: value for name, value in model_options.items() if name not in LOCAL_OPTIONS},
        "adapter": adapter,
        "sampling": {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k},
        "prompt_rewriting": "none",
    }


def _open_base_model(
    entry: Entry, options: BaseModelGeneratorOptions, model_options: Mapping[str, Any], registry: Registry
) -> BaseModelGenerator:
    path = str(model_options.get("path") or "")
    if path and not Path(path).exists():
        raise UsageError(f"--model {entry.name}:{path}: there is no {path}.")
    model: BaseModel = registry.build(MODEL, entry.qualified, model_options)
    load_adapter(model, options.adapter)
    sampling = sampling_params(options.model_dump())
    identity = base_model_identity(
        entry, model_options, sampling,
        weights=entry.revision or (_file_digests(Path(path)) if path else ""),
        adapter=_file_digests(options.adapter) if options.adapter else None,
    )
    return BaseModelGenerator(model, identity, sampling, options.batch_size or BATCH)


def _file_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of the files that hold weights or configuration, by name."""
    kinds = ("*.safetensors", "*.json", "*.bin", "*.pth")
    paths = sorted({path for kind in kinds for path in folder.rglob(kind)})
    names = [path.relative_to(folder).as_posix() for path in paths]
    return dict(zip(names, file_digests(paths), strict=True))
