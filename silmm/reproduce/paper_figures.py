"""Figures 3-7 and 9-11 of the paper as data; where the paper shows a curve without numbers none are given."""

from __future__ import annotations

from dataclasses import replace

from silmm.reproduce.experiment import (
    EIGHT,
    FOUR,
    OVERALL,
    PAPER_MODEL,
    Chart,
    Experiment,
    PromptShare,
    Row,
    Square,
)
from silmm.reproduce.paper_tables import TABLE4

FIG3 = replace(
    TABLE4,
    name="fig3",
    title="Figure 3: each category over the iterations",
    chart=Chart("lines", tuple(column.name for column in EIGHT), x_label="iteration", paper=True),
)

_SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)
_SIDES = (1, 5, 10, 15)
"""N of N x N of 30 candidates; the paper's figure names its own steps only as marks on an axis."""

FIG4 = Experiment(
    name="fig4",
    title="Figure 4: how much data",
    about="(a) the share of the prompts that are used; (b) N x N pairs a prompt of 30 candidates, as the "
    "same share of the candidates sampled here. The paper reports no numbers beside the curves.",
    columns=FOUR,
    rows=(
        *(
            Row(
                f"{PAPER_MODEL[kind]}, {share:.3g} of the prompts", {"prompts": PromptShare(share)},
                kind=kind, group="(a) share of the prompts", x=share, line=PAPER_MODEL[kind],
            )
            for kind in PAPER_MODEL for share in _SHARES
        ),
        *(
            Row(
                f"{PAPER_MODEL[kind]}, {side}x{side} pairs", {"pair-rule.shape": Square(side)}, kind=kind,
                group="(b) N of N x N pairs (of 30)", x=float(side), line=PAPER_MODEL[kind],
            )
            for kind in PAPER_MODEL for side in _SIDES
        ),
    ),
    chart=Chart("lines", (OVERALL.name,)),
)

_TEN = {"images_per_prompt": 10}
_BOXES = (*(column.name for column in FOUR), OVERALL.name)

FIG5 = Experiment(
    name="fig5",
    title="Figure 5: four ways to diverse candidates",
    about="Ten candidates of each prompt, no training. The paper scores them by the benchmark's own judges "
    "on the benchmark's prompts; here the model scores them itself (Eq. 1), on the run's prompts.",
    columns=FOUR,
    rows=tuple(
        Row(name, {"sampler": name}) for name in ("dropdiv", "rephrase", "explain", "noisy-dreamemb")
    ),
    base=_TEN,
    measure="scores",
    chart=Chart("boxes", _BOXES),
)

_RATES = (0.1, 0.2, 0.3, 0.4, 0.5)

FIG6 = Experiment(
    name="fig6",
    title="Figure 6: the dropout rate of DropDiv",
    about="Ten candidates of each prompt, no training: how their scores are distributed, and the best of the "
    "ten. Scored as in figure 5.",
    columns=FOUR,
    rows=tuple(
        Row(f"rate {rate:g}", {"sampler": "dropdiv", "sampler.rate": rate}, x=rate) for rate in _RATES
    ),
    base=_TEN,
    measure="scores",
    chart=Chart("boxes", (OVERALL.name,), x_label="dropout rate"),
)

_BETAS = (0.05, 0.1, 0.2, 0.4, 0.8)
_GAMMAS = (0.75, 1.5, 3.0, 6.0, 12.0)

FIG7 = Experiment(
    name="fig7",
    title="Figure 7: sensitivity to beta and gamma",
    about="One iteration with each value; the paper's own are beta 0.2 (DPO) and gamma 3.0 (KC-DPO). Kernels "
    "differ in scale by orders of magnitude, so (c) divides gamma by the median distance of the candidates. "
    "The paper reports no numbers beside the curves.",
    columns=FOUR,
    rows=(
        *(
            Row(f"beta {beta:g}", {"trainer.beta": beta}, kind="discrete", group="(a) beta of DPO", x=beta)
            for beta in _BETAS
        ),
        *(
            Row(
                f"gamma {gamma:g}", {"trainer.gamma": gamma}, kind="continuous", group="(b) gamma of KC-DPO",
                x=gamma,
            )
            for gamma in _GAMMAS
        ),
        *(
            Row(
                f"gamma auto, scale {gamma:g}", {"trainer.gamma": "auto", "trainer.gamma_scale": gamma},
                kind="continuous", group="(c) gamma by the kernel's scale (ours)", x=gamma,
            )
            for gamma in _GAMMAS
        ),
    ),
    chart=Chart("lines", tuple(column.name for column in FOUR), log_x=True),
)

FIG9 = Experiment(
    name="fig9",
    title="Figures 9-11: DropDiv in the first half, the second half and all layers",
    about="Ten candidates of each prompt, no training; the paper's three figures are panels here. Scored as "
    "in figure 5.",
    columns=EIGHT,
    rows=tuple(
        Row(name, {"sampler": "dropdiv", "sampler.layers": name.replace(" ", "-")})
        for name in ("first half", "second half", "all")
    ),
    base=_TEN,
    measure="scores",
    chart=Chart("boxes", tuple(column.name for column in EIGHT)),
)

FIGURES = (FIG3, FIG4, FIG5, FIG6, FIG7, FIG9)
