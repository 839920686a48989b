"""Any base model of silmm as a generator: drawn from its own distribution, with or without an adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import PIL.Image

from silmm.errors import UsageError
from silmm.file_digests import file_digests
from silmm.interfaces import BaseModel, Drawing
from silmm_benchmarks.generators.interfaces import GenerationFailure, GeneratorOptions

if TYPE_CHECKING:
    from silmm.registry import Registry

OPTIONS = frozenset({"adapter", "batch_size", "device", "temperature", "top_p", "top_k"})
BATCH = 64
"""Prompts drawn together by default; `silmm run` takes 128 candidates at once."""
FOLDER = "path"
"""Option of a base model that the DIR of `NAME:DIR` goes to."""


@dataclass
class BaseModelGenerator:
    """Draws z and the decoder's noise from the picture's seed."""

    model: BaseModel
    identity: Mapping[str, Any]
    drawing: Drawing
    batch_size: int

    def announce(self, images: int) -> str:
        """Say nothing: the pictures are free."""
        del images
        return ""

    def generate(
        self, prompts: Sequence[str], seeds: Sequence[int]
    ) -> list[PIL.Image.Image | GenerationFailure]:
        """Draw one picture for each (prompt, seed); a prompt that the model cannot read has none."""
        read = [place for place, prompt in enumerate(prompts) if self.model.reads(prompt)]
        found: list[PIL.Image.Image | GenerationFailure] = [
            GenerationFailure("unreadable", f"the model cannot read the prompt {prompt!r:.200}")
            for prompt in prompts
        ]
        if not read:
            return found
        own = [seeds[place] for place in read]
        latents = self.model.represent([prompts[place] for place in read], own, self.drawing)
        for place, pixels in zip(read, self.model.decode(latents, own), strict=True):
            found[place] = PIL.Image.fromarray(pixels)
        return found


def open_base_model(
    name: str, place: str, options: GeneratorOptions, registry: Registry
) -> BaseModelGenerator:
    """Build the base model `name`, with its files in `place` if that is not empty.

    Raises:
        UsageError: there is no such model, or it takes no folder, or no sampling that was asked for.
        DataError: the model's files or the adapter are broken.
    """
    entry = registry.entry("model", name)
    drawing = Drawing(options.temperature, options.top_p, options.top_k)
    if drawing != Drawing() and "nucleus" not in entry.capabilities:
        raise UsageError(f"--model {name} does not sample tokens: leave temperature, top_p and top_k out.")
    given = _given(name, place, options, entry.options.model_fields)
    model: BaseModel = registry.build("model", entry.qualified, given)
    model.load_adapter(options.adapter)
    identity = {
        "generator": "base-model",
        "model": entry.qualified,
        "version": entry.version,
        "weights": entry.revision or (_files(Path(place)) if place else ""),
        "adapter": _files(options.adapter) if options.adapter else None,
        "sampling": {"temperature": drawing.temperature, "top_p": drawing.top_p, "top_k": drawing.top_k},
        "prompt_rewriting": "none",
    }
    return BaseModelGenerator(model, identity, drawing, options.batch_size or BATCH)


def _given(name: str, place: str, options: GeneratorOptions, known: Mapping[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if place:
        if FOLDER not in known:
            raise UsageError(f"--model {name}:{place}: {name} brings its own files; leave the folder out.")
        if not Path(place).exists():
            raise UsageError(f"--model {name}:{place}: there is no {place}.")
        given[FOLDER] = place
    if options.device:
        if "device" not in known:
            raise UsageError(f"--model {name} has no option 'device'.")
        given["device"] = options.device
    return given


def _files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of the files that hold weights or configuration, by name."""
    kinds = ("*.safetensors", "*.json", "*.bin", "*.pth")
    found = sorted({path for kind in kinds for path in folder.rglob(kind)})
    names = [path.relative_to(folder).as_posix() for path in found]
    return dict(zip(names, file_digests(found), strict=True))
