"""How different the candidates of a prompt are: by their pixels, and by the benchmark's own facts."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from silmm.report.charts import histogram
from silmm.report.markup import Markup, join, table, tag
from silmm.report.reading import IterationRecord, RunRecord, group, stored_shards
from silmm.report.scores import sampler_label
from silmm.storage.tables import decode_png

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

NOTHING = Markup("")
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
    """Different images over all images; 1 where no two are alike."""


def diversity(run: RunRecord) -> Markup:
    """Return how different the candidates of a prompt are, of each iteration."""
    rows: list[list[str]] = []
    layers: dict[str, list[float]] = {}
    for iteration in run.iterations:
        found = pixel_diversity(iteration)
        differ = run.summary.get("extra", {}).get(f"{FACTS}{iteration.number}")
        if not found and differ is None:
            continue
        layers[f"iteration {iteration.number}"] = [one.rms for one in found]
        rows.append([
            str(iteration.number), *_means(found),
            f"{differ:.3f}" if differ is not None else "–", str(len(found)),
        ])
    if not rows:
        return NOTHING
    head = [
        "iteration", "pixel difference", "distinct images", "facts that differ", "prompts (pixels)",
    ]
    parts = [
        tag("h2", "Diversity of the candidates"),
        tag(
            "p",
            f"Of candidates sampled by {sampler_label(run.settings)}; means over the pairs of a prompt's "
            "candidates, then over prompts. Pixel difference: root mean square over two images; 0 is "
            "equal, 1 is black against white. Distinct images: share of different ones. Facts that "
            "differ: share of the prompt's facts that hold for one of two candidates and not for the other, "
            f"by the benchmark's judge. Pixels are compared on about {PROMPTS} prompts at most.",
            class_="soft",
        ),
        table(head, rows),
    ]
    if any(layers.values()):
        top = max(value for values in layers.values() for value in values)
        chart = histogram(
            "prompts by pixel difference", layers, span=(0.0, max(top, 0.01)), bins=20,
            x_label="pixel difference", means=True,
        )
        parts.append(tag("div", chart, class_="charts"))
    return join(parts)


def pixel_diversity(iteration: IterationRecord) -> list[PixelDiversity]:
    """Return the diversity of about `PROMPTS` prompts with two or more candidates, or of all."""
    found: list[PixelDiversity] = []
    shards = stored_shards(iteration.folder / "candidates")
    # The golden ratio's multiples spread the first shards over the whole table, whatever its order.
    for index in sorted(range(shards.count), key=lambda index: index * 0.618034 % 1.0):
        rows = shards.read(index, ["prompt_id", "image"]).to_pylist()
        for members in group(rows, lambda row: str(row["prompt_id"])).values():
            images = [decode_png(row["image"]) for row in members]
            if len(images) > 1 and len({image.shape for image in images}) == 1:
                found.append(_compare(images))
        if len(found) >= PROMPTS:
            break
    return found


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


def _means(found: list[PixelDiversity]) -> list[str]:
    if not found:
        return ["–", "–"]
    return [f"{fmean(one.rms for one in found):.3f}", f"{fmean(one.distinct for one in found):.2f}"]
