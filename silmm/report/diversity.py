"""How different the candidates of a prompt are: by their pixels, and by the benchmark's own facts."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from silmm.rendering.result_table import NONE, number, text_table
from silmm.report.charts import histogram
from silmm.report.reading import IterationRecord, RunRecord, group, stored_shards
from silmm.report.scores import sampler_label
from silmm.report.sections import Block, Charts, Paragraph, Section, Table
from silmm.storage.tables import decode_png

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PROMPTS = 128
"""About how many prompts are compared at most: those of whole shards, from all over the table."""
FACTS = "candidates_facts_differ_"
"""Name of the benchmark's figure (`EvalResult.extra`), before the number of the iteration."""


@dataclass(frozen=True)
class PixelDiversity:
    """How different the images of one prompt's candidates are."""

    rms: float
    """Mean over pairs of the root mean square difference; 0 is equal, 1 is black against white."""
    distinct: float
    """Number of distinct images over number of images; 1 where no two are alike."""


def diversity(run: RunRecord) -> Section | None:
    """Return how different the candidates of a prompt are in each iteration."""
    rows: list[list[str]] = []
    layers: dict[str, list[float]] = {}
    for iteration in run.iterations:
        prompts = pixel_diversity(iteration)
        facts_differ = run.summary.get("extra", {}).get(f"{FACTS}{iteration.number}")
        if not prompts and facts_differ is None:
            continue
        layers[f"iteration {iteration.number}"] = [prompt.rms for prompt in prompts]
        means = [
            f"{fmean(prompt.rms for prompt in prompts):.3f}", f"{fmean(prompt.distinct for prompt in prompts):.2f}",
        ] if prompts else [NONE, NONE]
        rows.append([str(iteration.number), *means, number(facts_differ), str(len(prompts))])
    if not rows:
        return None
    names = ("pixel difference", "distinct images", "facts that differ", "prompts (pixels)")
    explanation = (
        f"Candidates were sampled by {sampler_label(run.settings)}; means over the pairs of a prompt's candidates, "
        "then over prompts. Pixel difference: root mean square over two images; 0 is equal, 1 is black against "
        "white. Distinct images: share of different ones. Facts that differ: share of the prompt's facts that hold "
        "for one of two candidates and not for the other, by the benchmark's judge. Pixels are compared on about "
        f"{PROMPTS} prompts at most."
    )
    blocks: list[Block] = [Paragraph(explanation), Table(text_table(["iteration", *names], rows))]
    if any(layers.values()):
        top = max(value for values in layers.values() for value in values)
        blocks.append(Charts([histogram(
            "prompts by pixel difference", layers, span=(0.0, max(top, 0.01)), bins=20, x_label="pixel difference",
            means=True,
        )]))
    return Section("Diversity of the candidates", blocks)


def pixel_diversity(iteration: IterationRecord) -> list[PixelDiversity]:
    """Return the diversity of about `PROMPTS` prompts with two or more candidates, or of all."""
    measured: list[PixelDiversity] = []
    shards = stored_shards(iteration.folder / "candidates")
    # The golden ratio's multiples spread the first shards over the whole table, whatever its order.
    for index in sorted(range(shards.count), key=lambda index: index * 0.618034 % 1.0):
        rows = shards.read(index, ["prompt_id", "image"]).to_pylist()
        for candidates in group(rows, lambda row: str(row["prompt_id"])).values():
            images = [decode_png(row["image"]) for row in candidates]
            if len(images) > 1 and len({image.shape for image in images}) == 1:
                measured.append(_compare(images))
        if len(measured) >= PROMPTS:
            break
    return measured


def _compare(images: list[npt.NDArray[np.uint8]]) -> PixelDiversity:
    import numpy as np

    flat = np.stack(images).reshape(len(images), -1).astype(np.float64) / 255.0
    square = (flat**2).sum(axis=1)
    # ||a - b||² = ||a||² + ||b||² - 2ab, so that no array of all pairs' pixels is needed
    squared = np.maximum(square[:, None] + square - 2 * flat @ flat.T, 0.0)
    pairs = np.triu_indices(len(flat), k=1)
    return PixelDiversity(
        float(np.sqrt(squared[pairs] / flat.shape[1]).mean()),
        len({image.tobytes() for image in images}) / len(images),
    )
