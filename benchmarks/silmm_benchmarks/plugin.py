"""Registers the benchmarks, judges, generators and data sets that come with silmm; imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm import hookimpl
from silmm.contracts.registration import lazy
from silmm_benchmarks.benchmark_options import DpgBenchOptions, GenEvalOptions, OfficialOptions, ShapesOptions
from silmm_benchmarks.data.catalogue import register_data
from silmm_benchmarks.generators.options import DiffusersOptions, OpenAIImagesOptions
from silmm_benchmarks.judges.registration import register_judges

if TYPE_CHECKING:
    from silmm.contracts.registration import Register

SILMM_PLUGIN_API = 2


@hookimpl
def silmm_register_benchmarks(register: Register) -> None:
    """Register `shapes` and the benchmarks of real images."""
    register(
        "shapes", lazy("silmm_benchmarks.shapes.benchmark:Shapes"), options=ShapesOptions, requires=["yes_no"],
        summary="held-out compositions of coloured shapes, read by an exact judge without a model",
    )
    register(
        "t2i-compbench", lazy("silmm_benchmarks.t2i_compbench.benchmark:T2ICompBench"), options=OfficialOptions,
        summary="T2I-CompBench++: eight columns of compositional prompts", paper="Table 1",
    )
    register(
        "tifa", lazy("silmm_benchmarks.tifa.benchmark:Tifa"), options=OfficialOptions,
        summary="TIFA v1.0: questions about 4,081 captions", paper="Table 1",
    )
    register(
        "dpg-bench", lazy("silmm_benchmarks.dpg_bench.benchmark:DpgBench"), options=DpgBenchOptions,
        summary="DPG-Bench: questions about 1,065 dense prompts", paper="Table 1",
    )
    register(
        "geneval", lazy("silmm_benchmarks.geneval.benchmark:GenEval"), options=GenEvalOptions,
        summary="GenEval: objects, counts, colours and positions of 553 prompts",
    )


@hookimpl
def silmm_register_judges(register: Register) -> None:
    """Register the judges that benchmarks read images with."""
    register(
        "shapes-parser", lazy("silmm_benchmarks.shapes.shapes_judge:ShapesJudge"),
        summary="exact parser of the shapes world, without a model",
    )
    register_judges(register)


@hookimpl
def silmm_register_generators(register: Register) -> None:
    """Register `diffusers` and `openai-images`."""
    register(
        "diffusers", lazy("silmm_benchmarks.generators.diffusers_pipeline:open_pipeline"), options=DiffusersOptions,
        summary="any text-to-image pipeline of diffusers: diffusers:ID or diffusers:DIR",
    )
    register(
        "openai-images", lazy("silmm_benchmarks.generators.openai_images:open_images"), options=OpenAIImagesOptions,
        summary="an endpoint that speaks OpenAI's images API: openai-images:MODEL",
    )


@hookimpl
def silmm_register_data(register: Register) -> None:
    """Register the official files that `silmm data` fetches."""
    register_data(register)
