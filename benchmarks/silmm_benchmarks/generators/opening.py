"""Opens a generator from the name that a user gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm.errors import UsageError
from silmm_benchmarks.generators.interfaces import Generator, GeneratorOptions

if TYPE_CHECKING:
    from silmm.registry import Registry

DIFFUSERS, IMAGES = "diffusers", "openai-images"


def open_generator(spec: str, options: GeneratorOptions, registry: Registry) -> Generator:
    """Return the generator of `diffusers:ID|DIR`, `openai-images:MODEL` or `NAME[:DIR]`.

    Args:
        spec: the name; after the first colon the place or the model of an endpoint.
        options: how to draw; an option that the generator does not know is refused unless it is a default.
        registry: where base models are found.

    Raises:
        UsageError: there is no such generator or place, or an option does not fit it.
        DataError: files of the model are broken.
    """
    kind, _, place = spec.partition(":")
    if kind in (DIFFUSERS, IMAGES) and not place:
        raise UsageError(f"--model {spec} names no model; write {kind}:MODEL")
    if kind == DIFFUSERS:
        from silmm_benchmarks.generators import diffusers_pipeline

        _fit(spec, options, diffusers_pipeline.OPTIONS)
        return diffusers_pipeline.open_pipeline(place, options)
    if kind == IMAGES:
        from silmm_benchmarks.generators import openai_images

        _fit(spec, options, openai_images.OPTIONS)
        return openai_images.open_images(place, options)
    from silmm_benchmarks.generators import base_model

    _fit(spec, options, base_model.OPTIONS)
    return base_model.open_base_model(kind, place, options, registry)


def _fit(spec: str, options: GeneratorOptions, known: frozenset[str]) -> None:
    """Refuse options that would be silently without effect."""
    default = GeneratorOptions()
    for name in type(options).model_fields:
        if name not in known and getattr(options, name) != getattr(default, name):
            raise UsageError(
                f"--model {spec} has no use for the option {name!r}; it knows: {', '.join(sorted(known))}."
            )
