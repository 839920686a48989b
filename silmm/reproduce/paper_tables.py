"""Tables 2, 3, 4 and 7 of the paper as data, with the paper's own numbers (T2I-CompBench++, percent)."""

from __future__ import annotations

from silmm.reproduce.experiment import (
    EIGHT,
    FOUR,
    PAPER_MODEL,
    Experiment,
    ModelKind,
    PaperColumn,
    Ranks,
    Row,
    Square,
)

KERNELS = ("eucl", "cos", "maxpool-eucl", "maxpool-cos", "avgpool-eucl", "avgpool-cos")

_DREAMLLM = (22.94, 23.74, 28.76, 23.01)

TABLE2 = Experiment(
    name="table2",
    title="Table 2: how questions are asked and how answers become a score",
    about="In the paper: DreamLLM after one iteration. self-q and diff-of-prob are the paper's method, so "
    "these two rows are one run. The last column is the paper's DPG-Bench score, which is not measured here.",
    columns=(*FOUR, PaperColumn("DPG-Bench")),
    rows=(
        Row("base", iteration=0, group="base", paper=(*_DREAMLLM, 53.93)),
        *(
            Row(name, {"questioner": name}, group="questions", paper=paper)
            for name, paper in (
                ("prompt-q", (33.66, 25.93, 28.14, 24.67, 60.13)),
                ("phrase-q", (34.63, 24.91, 28.01, 25.41, 60.10)),
                ("self-q", (34.85, 25.51, 28.82, 25.31, 60.95)),
            )
        ),
        *(
            Row(name, {"scorer": name}, group="score", paper=paper)
            for name, paper in (
                ("random", (23.41, 24.81, 28.67, 22.95, 53.89)),
                ("ratio-of-yes", (25.36, 23.51, 28.73, 24.00, 54.68)),
                ("diff-of-prob", (34.85, 25.51, 28.82, 25.31, 60.95)),
            )
        ),
    ),
)

_SFT = {
    "eucl": (12.25, 0.75, 16.41, 11.71),
    "cos": (6.95, 0.29, 16.78, 11.48),
    "avgpool-eucl": (23.31, 23.89, 28.76, 23.22),
    "avgpool-cos": (23.12, 24.20, 28.79, 23.29),
}
_KC_DPO = {
    "eucl": (23.65, 24.34, 28.83, 23.08),
    "cos": (23.97, 24.11, 28.77, 23.21),
    "maxpool-eucl": (23.79, 24.04, 28.86, 23.92),
    "maxpool-cos": (29.18, 25.01, 18.72, 12.27),
    "avgpool-eucl": (26.75, 24.70, 28.94, 25.12),
    "avgpool-cos": (34.85, 25.51, 28.82, 25.31),
}

TABLE3 = Experiment(
    name="table3",
    title="Table 3: SFT and KC-DPO with each kernel",
    about="In the paper: DreamLLM after one iteration. All rows train on the same scored candidates.",
    columns=FOUR,
    rows=(
        Row("base", iteration=0, group="base", paper=_DREAMLLM),
        *(
            Row(f"SFT {kernel}", {"trainer": "sft", "kernel": kernel}, group="SFT", paper=paper)
            for kernel, paper in _SFT.items()
        ),
        *(
            Row(f"KC-DPO {kernel}", {"trainer": "kc-dpo", "kernel": kernel}, group="KC-DPO", paper=paper)
            for kernel, paper in _KC_DPO.items()
        ),
    ),
)

ITERATIONS: dict[ModelKind, tuple[tuple[float, ...], ...]] = {
    "discrete": (
        (17.87, 19.43, 20.31, 5.72, 21.72, 33.43, 28.86, 21.46),
        (37.41, 33.12, 39.46, 9.16, 26.07, 35.75, 29.80, 26.17),
        (39.81, 37.62, 38.00, 8.60, 25.42, 38.59, 29.62, 27.14),
        (41.91, 36.27, 40.63, 11.90, 25.74, 37.70, 29.82, 28.28),
    ),
    "continuous": (
        (21.04, 21.86, 25.91, 6.13, 25.62, 39.46, 28.76, 23.01),
        (32.47, 32.25, 39.84, 8.87, 27.60, 40.07, 28.82, 25.31),
        (36.39, 35.82, 47.28, 12.13, 27.76, 41.44, 28.94, 26.87),
        (35.61, 36.83, 47.39, 12.70, 28.58, 41.61, 29.00, 26.43),
    ),
}
"""Table 4: the eight categories before and after each of three iterations."""

TABLE4 = Experiment(
    name="table4",
    title="Table 4: three iterations of self-improvement",
    about="One run of three iterations on each kind of model; each tuned model is the next reference.",
    columns=EIGHT,
    rows=tuple(
        Row(
            f"{PAPER_MODEL[kind]}, iteration {number}" if number else f"{PAPER_MODEL[kind]}, base",
            kind=kind, group=PAPER_MODEL[kind], iteration=number, paper=paper, x=float(number),
        )
        for kind, numbers in ITERATIONS.items()
        for number, paper in enumerate(numbers)
    ),
    base={"iterations": len(ITERATIONS["discrete"]) - 1},
)

TABLE7 = Experiment(
    name="table7",
    title="Table 7: ranks that the rejected candidates come from",
    about="In the paper: DreamLLM after one iteration, ranks of 30 candidates. Where another number is sampled "
    "they are the same shares of it, and so is the number of pairs (10x10 of 30).",
    columns=EIGHT,
    rows=(
        Row(
            "base", {"pair-rule.rejected": Ranks(20, 30)}, iteration=0, group="base",
            paper=ITERATIONS["continuous"][0],
        ),
        *(
            Row(f"{low}-{high}", {"pair-rule.rejected": Ranks(low, high)}, group="ranks of 30", paper=paper)
            for (low, high), paper in (
                ((14, 24), (23.58, 26.03, 31.02, 7.65, 27.44, 41.47, 29.08, 24.83)),
                ((16, 26), (25.57, 26.13, 32.70, 8.28, 27.28, 40.27, 29.06, 24.85)),
                ((18, 28), (27.06, 27.44, 34.72, 8.92, 26.84, 40.56, 28.86, 25.57)),
                ((20, 30), ITERATIONS["continuous"][1]),
            )
        ),
    ),
    base={"pair-rule.shape": Square(10)},
)

TABLES = (TABLE2, TABLE3, TABLE4, TABLE7)
