"""Registers the benchmarks, judges, generators and data sets that come with silmm; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm import hookimpl
from silmm.contracts.options import NoOptions
from silmm_benchmarks.data.catalogue import register_data
from silmm_benchmarks.dpg_bench.registration import register_dpg_bench
from silmm_benchmarks.generators.options import DiffusersOptions, OpenAIImagesOptions
from silmm_benchmarks.judges.registration import register_judges
from silmm_benchmarks.shapes.options import ShapesOptions
from silmm_benchmarks.t2i_compbench.registration import register_t2i_compbench
from silmm_benchmarks.tifa.registration import register_tifa

if TYPE_CHECKING:
    from silmm.contracts.benchmarks import Benchmark
    from silmm.contracts.generators import Generator
    from silmm.contracts.registration import Register
    from silmm_benchmarks.shapes.shapes_judge import ShapesJudge

SILMM_PLUGIN_API = 2


def _shapes(options: ShapesOptions) -> Benchmark:
    from silmm_benchmarks.shapes.benchmark import Shapes

    return Shapes(options)


def _shapes_judge(_: NoOptions) -> ShapesJudge:
    from silmm_benchmarks.shapes.shapes_judge import ShapesJudge

    return ShapesJudge()


@hookimpl
def silmm_register_benchmarks(register: Register) -> None:
    """Register `shapes` and the three benchmarks of real images."""
    register(
        "shapes",
        _shapes,
        summary="held-out compositions of coloured shapes, read by an exact judge without a model",
        options=ShapesOptions,
        requires=["yes_no"],
    )
    register_t2i_compbench(register)
    register_tifa(register)
    register_dpg_bench(register)


@hookimpl
def silmm_register_judges(register: Register) -> None:
    """Register the judges that benchmarks read images with."""
    register(
        "shapes-parser",
        _shapes_judge,
        summary="exact parser of the shapes world, without a model",
    )
    register_judges(register)


def _diffusers(options: DiffusersOptions) -> Generator:
    from silmm_benchmarks.generators.diffusers_pipeline import open_pipeline

    return open_pipeline(options)


def _openai_images(options: OpenAIImagesOptions) -> Generator:
    from silmm_benchmarks.generators.openai_images import open_images

    return open_images(options)


@hookimpl
def silmm_register_generators(register: Register) -> None:
    """Register `diffusers` and `openai-images`."""
    register(
        "diffusers",
        _diffusers,
        summary="any text-to-image pipeline of diffusers: diffusers:ID or diffusers:DIR",
        options=DiffusersOptions,
    )
    register(
        "openai-images",
        _openai_images,
        summary="an endpoint that speaks OpenAI's images API: openai-images:MODEL",
        options=OpenAIImagesOptions,
    )


@hookimpl
def silmm_register_data(register: Register) -> None:
    """Register the official files that `silmm data` fetches."""
    register_data(register)
