"""Registers the benchmarks that come with silmm; nothing heavy is imported until one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from silmm import hookimpl
from silmm.bench.options import DpgBenchOptions, TifaOptions
from silmm.contracts.options import NoOptions
from silmm_benchmarks.data.catalogue import register_data
from silmm_benchmarks.generators.options import DiffusersOptions, OpenAIImagesOptions
from silmm_benchmarks.geneval.options import GenEvalOptions
from silmm_benchmarks.judges.mplug.options import MPlugOptions
from silmm_benchmarks.judges.register import register_judges
from silmm_benchmarks.judges.unidet.registration import register_unidet
from silmm_benchmarks.shapes.options import ShapesOptions
from silmm_benchmarks.t2i_compbench.options import T2ICompBenchOptions

if TYPE_CHECKING:
    from silmm.bench.requests import ImageBench
    from silmm.contracts.generators import Generator
    from silmm.contracts.judges import VqaJudge
    from silmm.contracts.models import Benchmark
    from silmm.contracts.registration import Register
    from silmm.probe import Prober
    from silmm_benchmarks.shapes.image_judge import ShapesJudge

SILMM_PLUGIN_API = 2


def _shapes(options: ShapesOptions) -> Benchmark:
    from silmm_benchmarks.shapes.benchmark import ShapesBenchmark

    return ShapesBenchmark(options)


def _t2i_compbench(options: T2ICompBenchOptions) -> ImageBench:
    from silmm.bench.runner import Bench
    from silmm_benchmarks.t2i_compbench.benchmark import T2ICompBench

    return Bench(T2ICompBench(options))


def _tifa(options: TifaOptions) -> ImageBench:
    from silmm.bench.runner import Bench
    from silmm_benchmarks.tifa.benchmark import Tifa

    return Bench(Tifa(official=not options.custom))


def _dpg_bench(options: DpgBenchOptions) -> ImageBench:
    from silmm.bench.runner import Bench
    from silmm_benchmarks.dpg_bench.benchmark import DpgBench

    return Bench(DpgBench(
        resolution=options.resolution, images=options.images, official=not options.custom
    ))


def _geneval(options: GenEvalOptions) -> ImageBench:
    from silmm.bench.runner import Bench
    from silmm_benchmarks.geneval.benchmark import GenEval

    return Bench(GenEval(options))


@hookimpl
def silmm_register_benchmarks(register: Register) -> None:
    """Register `shapes` and the benchmarks of real images."""
    register(
        "shapes",
        _shapes,
        summary="held-out compositions of coloured shapes, read by an exact judge without a model",
        options=ShapesOptions,
        requires=["yes_no"],
    )
    register(
        "t2i-compbench",
        _t2i_compbench,
        summary="T2I-CompBench++: eight columns of compositional prompts (silmm bench)",
        options=T2ICompBenchOptions,
        paper="Table 1",
    )
    register(
        "tifa",
        _tifa,
        summary="TIFA v1.0: questions about 4,081 captions (silmm bench)",
        options=TifaOptions,
        paper="Table 1",
    )
    register(
        "dpg-bench",
        _dpg_bench,
        summary="DPG-Bench: questions about 1,065 dense prompts (silmm bench)",
        options=DpgBenchOptions,
        paper="Table 1",
    )
    register(
        "geneval",
        _geneval,
        summary="GenEval: objects, counts, colours and positions of 553 prompts (silmm bench)",
        options=GenEvalOptions,
    )


def _shapes_judge(_: NoOptions) -> ShapesJudge:
    from silmm_benchmarks.shapes.image_judge import ShapesJudge

    return ShapesJudge()


def _mplug(options: MPlugOptions) -> VqaJudge:
    from silmm_benchmarks.judges.mplug.judge import build

    return build(options)


def _mplug_prober() -> Prober:
    from silmm_benchmarks.judges.mplug.probing import MPlugProber

    return MPlugProber("mplug")


@hookimpl
def silmm_register_judges(register: Register) -> None:
    """Register the judges that benchmarks read images with."""
    register(
        "shapes-parser",
        _shapes_judge,
        summary="exact parser of the shapes world, without a model",
    )
    register(
        "mplug",
        _mplug,
        summary="mPLUG VQA large, the official judge of TIFA and DPG-Bench",
        options=MPlugOptions,
        probe=_mplug_prober,
    )
    register_unidet(register)
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
