"""Table 1 of the paper (arXiv 2412.05818) as rows above measured results; percent, as printed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SOURCE = "arXiv 2412.05818, Table 1"

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "t2i-compbench": ("Attribute", "Layout", "Non-Spatial", "Complex"),
    "dpg-bench": ("Global", "Entity", "Attribute", "Relation", "Other", "Overall"),
    "tifa": ("Overall",),
}
"""The paper's columns of each benchmark, in its order; "All" is called Overall here."""


@dataclass(frozen=True)
class Published:
    """One method's printed numbers; None where the paper prints none."""

    method: str
    numbers: Mapping[str, tuple[float | None, ...]]
    """Benchmark -> one number per column of :data:`COLUMNS`."""


def _row(
    method: str,
    compbench: tuple[float | None, ...] = (None,) * 4,
    dpg: tuple[float | None, ...] = (None,) * 6,
    tifa: float | None = None,
) -> Published:
    return Published(method, {"t2i-compbench": compbench, "dpg-bench": dpg, "tifa": (tifa,)})


TABLE1 = (
    _row("SD-v1.5", (38.65, None, None, None), (74.63, 74.23, 75.39, 73.49, 67.81, 63.18), 78.40),
    _row("DALL-E 2", (58.63, None, None, None)),
    _row("SD-v2", (47.36, 30.50, 31.27, 33.86), (77.67, 78.13, 74.91, 80.72, 80.66, 68.09)),
    _row("SD-v2.1", (50.57, None, None, None), tifa=82.00),
    _row("SDXL", (52.88, 35.62, 31.19, 32.37), (83.27, 82.43, 80.91, 86.76, 80.41, 74.65)),
    _row("PixArt-α", (60.31, 36.74, 31.97, 34.33), (74.97, 79.32, 78.60, 82.57, 76.96, 71.11)),
    _row("DALL-E 3", (70.09, 41.63, 30.03, 37.73), (90.97, 89.61, 88.39, 90.58, 89.83, 83.50)),
    _row("SEED-LLaMA", (19.20, 20.29, 28.86, 21.46), (65.59, 55.87, 61.96, 62.77, 59.46, 47.12), 66.74),
    _row(
        "SEED-LLaMA + SILMM", (39.60, 25.11, 29.82, 28.28), (73.55, 70.48, 68.49, 74.79, 68.64, 57.31), 73.74
    ),
    _row("DreamLLM", (22.94, 23.74, 28.76, 23.01), (74.47, 65.86, 63.80, 74.24, 46.00, 53.93), 69.91),
    _row("DreamLLM + SILMM", (39.94, 27.63, 29.00, 26.43), (76.29, 75.91, 69.20, 84.41, 60.00, 64.22), 75.38),
    _row("Emu3", (44.79, 32.30, 30.15, 31.32), (84.19, 80.81, 82.75, 87.23, 50.80, 74.19), 81.86),
    _row("Emu3 + SILMM", (59.71, 36.03, 30.51, 33.93), (84.19, 81.57, 84.52, 89.01, 64.80, 77.45), 85.11),
)


def same_column(first: str, second: str) -> bool:
    """Say whether two names mean the same column, whatever their hyphens and capitals."""
    first_letters, second_letters = (
        [letter for letter in name.lower() if letter.isalnum()] for name in (first, second)
    )
    return first_letters == second_letters
