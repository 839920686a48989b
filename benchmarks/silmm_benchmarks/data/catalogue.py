"""All data sets that `silmm data` knows: one entry for each benchmark and each judge's weights."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from silmm.contracts.options import NoOptions
    from silmm.contracts.registration import Register
    from silmm.storage.data_sets import DataSet


@dataclass(frozen=True)
class Source:
    """The place of a data set's description, which is imported when it is used."""

    summary: str
    files: str
    """`module:NAME` of its tuple of :class:`silmm_benchmarks.data.data_file.DataFile`, or of a mapping from the data
    set's name to the tuple."""
    benchmark: str = ""
    """`module:Class` of the benchmark whose `items` reads the folder and compares its counts with the specification;
    empty for weights, which only their hashes verify."""


CATALOGUE: Mapping[str, Source] = MappingProxyType({
    "t2i-compbench": Source(
        "val prompts and lists of T2I-CompBench++",
        "silmm_benchmarks.t2i_compbench.official_data:FILES",
        "silmm_benchmarks.t2i_compbench.benchmark:T2ICompBench",
    ),
    "tifa": Source(
        "captions and questions of TIFA v1.0",
        "silmm_benchmarks.tifa.official_data:FILES",
        "silmm_benchmarks.tifa.benchmark:Tifa",
    ),
    "dpg-bench": Source(
        "questions and prompts of DPG-Bench",
        "silmm_benchmarks.dpg_bench.official_data:FILES",
        "silmm_benchmarks.dpg_bench.benchmark:DpgBench",
    ),
    "geneval": Source(
        "prompts of GenEval",
        "silmm_benchmarks.geneval.official_data:FILES",
        "silmm_benchmarks.geneval.benchmark:GenEval",
    ),
    "mask2former": Source(
        "weights of Mask2Former with Swin-S, about 0.3 GB: GenEval's objects",
        "silmm_benchmarks.judges.weights_catalogue:FILES",
    ),
    "clip-l14": Source(
        "weights of CLIP ViT-L/14, about 1.7 GB: GenEval's colours", "silmm_benchmarks.judges.weights_catalogue:FILES"
    ),
    "mplug": Source(
        "weights of mPLUG, about 2.4 GB: TIFA and DPG-Bench", "silmm_benchmarks.judges.weights_catalogue:FILES"
    ),
    "mpnet": Source(
        "weights of all-mpnet-base-v2, about 0.4 GB: TIFA's answer matching",
        "silmm_benchmarks.judges.weights_catalogue:FILES",
    ),
    "blip-vqa": Source(
        "weights of BLIP-VQA, about 1.5 GB: color, shape, texture and complex of T2I-CompBench++",
        "silmm_benchmarks.judges.weights_catalogue:FILES",
    ),
    "clip": Source(
        "weights of CLIP ViT-B/32, about 0.6 GB: non-spatial and complex of T2I-CompBench++",
        "silmm_benchmarks.judges.weights_catalogue:FILES",
    ),
    "dpt": Source(
        "weights of DPT-Hybrid, about 0.5 GB: 3D-spatial of T2I-CompBench++",
        "silmm_benchmarks.judges.weights_catalogue:FILES",
    ),
    "unidet-r50": Source(
        "weights of UniDet R50, about 0.3 GB: 3D-spatial and numeracy of T2I-CompBench++",
        "silmm_benchmarks.judges.weights_catalogue:FILES",
    ),
    "unidet-rs200": Source(
        "weights of UniDet ResNeSt-200, about 0.5 GB: 2D-spatial of T2I-CompBench++",
        "silmm_benchmarks.judges.weights_catalogue:FILES",
    ),
})
"""Name on the command line, which is also the folder's name -> source."""


def register_data(register: Register) -> None:
    """Register every data set of the catalogue."""
    for name, source in CATALOGUE.items():
        register(name, _factory(name, source), summary=source.summary)


def _factory(name: str, source: Source) -> Callable[[NoOptions], DataSet]:
    def build(options: NoOptions) -> DataSet:
        from silmm_benchmarks.data.official_data import OfficialData

        del options
        files = _imported(source.files)
        load = _counter(source.benchmark) if source.benchmark else None
        return OfficialData(files[name] if isinstance(files, Mapping) else files, load)

    return build


def _counter(benchmark: str) -> Callable[[Path], str]:
    def count(folder: Path) -> str:
        items = _imported(benchmark)().items(folder)
        images = sum(item.images for item in items)
        return f"{len(items):,} prompts for {images:,} images, counted as the specification says"

    return count


def _imported(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
