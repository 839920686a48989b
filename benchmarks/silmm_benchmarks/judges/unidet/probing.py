"""Examines the published UniDet files for `silmm probe`: facts of a checkpoint (docs/spec/unidet.md 10, 11, 16)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from silmm.contracts.judges import Detections
from silmm.errors import DataError
from silmm.probe import Finding, Step
from silmm_benchmarks.judges import file_facts
from silmm_benchmarks.judges.judge_probing import JudgeProber, Open, best_detections
from silmm_benchmarks.judges.options import UniDetOptions
from silmm_benchmarks.judges.unidet.architecture import CLASSES, Architecture
from silmm_benchmarks.judges.unidet.backbones import EPS
from silmm_benchmarks.judges.unidet.boxes import ANCHORS, cell_anchors
from silmm_benchmarks.judges.unidet.checkpoint import (
    COUNTER,
    differences,
    is_array,
    recognised,
    table_of,
    unpack,
)
from silmm_benchmarks.judges.unidet.judge import UniDetJudge
from silmm_benchmarks.judges.unidet.network import UniDet
from silmm_benchmarks.judges.unidet.unidet_files import OFFICIAL, digest, located, read_labels

NAMED = 12
_MEAN, _VARIANCE = ".running_mean", ".running_var"
_CLASSIFIER = "roi_heads.box_predictor.2.cls_score.weight"
_OBJECTNESS = "proposal_generator.rpn_head.objectness_logits.weight"
_TOP = "backbone.top_block.p6.weight"
_ANCHORS = "proposal_generator.anchor_generator.cell_anchors."


class UniDetProber(JudgeProber):
    """A :class:`silmm.probe.Prober` of one of the two networks."""

    def __init__(self, architecture: Architecture) -> None:
        """Take the network that the file should hold."""
        super().__init__(architecture.name)
        self.architecture = architecture

    def files(self, options: UniDetOptions) -> Mapping[str, Any]:
        """Return what both files hold: :func:`weight_facts` and :func:`label_facts`."""
        weights, labels = located(self.architecture.name, options.weights, options.labels)
        of_weights, problems, notes = weight_facts(weights, self.architecture)
        names, unreadable = label_facts(labels)
        return {"weights": of_weights, "labels": names, "problems": problems + unreadable, "notes": notes}

    def examine(
        self, judge: UniDetJudge, images: Sequence[Path], texts: Sequence[str]
    ) -> Iterable[tuple[str, Step]]:
        """Return the steps of any judge; then both suppressions and, for RS200, both orders of colours."""
        yield from super().examine(judge, images, texts)
        for name, opened in self.images(images)[2:]:  # a disc and nothing show no difference
            yield f"nms, {name}", partial(_suppressions, judge, opened)
            if self.architecture.trained_on == "RGB":
                yield f"colours, {name}", partial(_colours, judge, opened)


def weight_facts(path: Path, architecture: Architecture) -> tuple[dict[str, Any], list[str], list[str]]:
    """Return facts of a checkpoint, whether or not it loads; what is wrong; and what is worth checking."""
    with torch.device("meta"):
        wanted = UniDet(architecture).state_dict()
    facts = {**file_facts.describe(path), "expected": _expected(architecture, wanted)}
    if not path.is_file():
        return facts, [f"{path} does not exist"], []
    try:
        data = unpack(path)
        facts["top of the file"] = file_facts.wrapping(data)
        table = table_of(path, data)
    except DataError as error:
        foreign = file_facts.foreign_objects(path)
        facts["objects beyond arrays"] = file_facts.named(foreign)
        return facts, [str(error)], []
    unlike = differences(table, wanted)
    facts |= {
        **file_facts.arrays(table),
        "resembles": recognised(table),
        "identity": _identity(table),
        "missing": file_facts.named(unlike.missing),
        "unknown": file_facts.named(unlike.unknown),
        "of another shape": file_facts.named(unlike.misshapen),
        "beside the network": file_facts.named(name for name in unlike.unused if not name.endswith(COUNTER)),
        "counters": _counters(table, wanted),
        **_stored_settings(table, architecture),
    }
    state = {name: torch.as_tensor(value) for name, value in table.items() if is_array(value)}
    norms, problems, notes = norm_facts(state, wanted)
    strange = [name for name, value in state.items() if not torch.isfinite(value).all()]
    facts |= {"not finite": file_facts.named(strange), "norms": norms}
    problems = [*unlike.problems(NAMED), *problems]
    if strange:
        problems.append(f"numbers that are not finite in {', '.join(file_facts.named(strange))}")
    return facts, problems, notes


def norm_facts(
    state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> tuple[dict[str, Any], list[str], list[str]]:
    """Return what the norms' statistics say, problems and notes.

    A frozen norm has no counter in the network. Issue #22 of the benchmark, cause (a): eps was taken off
    variances when norms were frozen, so that a channel that was always 0 has variance -eps.

    Args:
        state: arrays of the file by name.
        wanted: the network's state dict.
    """
    variances = {name: value.float() for name, value in state.items()
                 if name.endswith(_VARIANCE) and name in wanted and value.numel()}
    if not variances:
        return {"found": 0}, [], []
    frozen = [name for name in variances if name.removesuffix(_VARIANCE) + COUNTER not in wanted]
    least = min(variances, key=lambda name: float(variances[name].min()))
    below = {name: int((value < 0).sum()) for name, value in variances.items() if (value < 0).any()}
    sums = {name: value + EPS for name, value in variances.items()}
    dead = {name: int((value <= 0).sum()) for name, value in sums.items() if (value <= 0).any()}
    shifted = [name for name in below if (variances[name] >= -1.01 * EPS).all()]
    means = [state.get(name.removesuffix(_VARIANCE) + _MEAN) for name in frozen]
    facts = {
        "found": len(variances), "frozen": len(frozen),
        "frozen with mean 0": sum(mean is not None and not mean.any() for mean in means),
        "frozen with variance 1 - 1e-5": sum(_all_near(variances[name], 1 - EPS) for name in frozen),
        "frozen with variance 1": sum(_all_near(variances[name], 1.0) for name in frozen),
        "least variance + 1e-5": float(variances[least].min() + EPS), "which is in": least,
        "norms with a variance below 0": file_facts.named(f"{name} ({n})" for name, n in below.items()),
        "of them between -1e-5 and 0, as taking eps off leaves (cause a)": len(shifted),
    }
    problems = [
        f"variance + 1e-5 is not above 0 in {len(dead)} norms, {sum(dead.values())} channels: the network "
        f"would give NaN ({', '.join(file_facts.named(dead))}); repair_variances=true mends them"
    ] if dead else []
    notes = [f"{len(below)} norms hold variances below 0: eps was taken off them once"] if below else []
    return facts, problems, notes if not problems else []


def label_facts(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return facts of the file of class names, and what is wrong with it."""
    facts = file_facts.describe(path)
    if not path.is_file():
        return facts, [f"{path} with the class names does not exist"]
    try:
        names = read_labels(path)
    except DataError as error:
        return facts, [str(error)]
    hashed, repeated = digest(names), sum(count > 1 for count in Counter(names).values())
    return {
        **facts, "names": len(names), "of more than one class": repeated, "first": list(names[:3]),
        "sha256 of the names": hashed, "official": hashed == OFFICIAL,
    }, []


def _expected(architecture: Architecture, wanted: Mapping[str, Tensor]) -> str:
    numbers = sum(value.numel() for value in wanted.values() if value.is_floating_point())
    counters = sum(name.endswith(COUNTER) for name in wanted)
    counted = f", {counters} counters" if counters else ""
    return f"{architecture.name}: {len(wanted) - counters} arrays of {numbers:,} numbers{counted}"


def _identity(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the four facts that tell the two files apart and from other UniDets (docs/spec/unidet.md 11)."""
    shapes = {name: list(getattr(table.get(name), "shape", ())) for name in (_OBJECTNESS, _CLASSIFIER, _TOP)}
    return {
        f"objectness_logits ({ANCHORS})": (shapes[_OBJECTNESS] or ["none"])[0],
        f"cls_score ({CLASSES + 1})": (shapes[_CLASSIFIER] or ["none"])[0],
        "top_block.p6": shapes[_TOP] or "none",
        "conv2.fc1 (RS200 alone)": any(".conv2.fc1." in name for name in table),
    }


def _counters(table: Mapping[str, Any], wanted: Mapping[str, Tensor]) -> dict[str, int]:
    present = {name for name in table if name.endswith(COUNTER)}
    expected = {name for name in wanted if name.endswith(COUNTER)}
    return {"expected": len(expected), "present": len(present & expected), "beyond": len(present - expected)}


def _stored_settings(table: Mapping[str, Any], architecture: Architecture) -> dict[str, Any]:
    """Return the stored means and anchors, which are never used, beside those of the configuration."""
    facts: dict[str, Any] = {}
    for name, own in (("pixel_mean", architecture.mean), ("pixel_std", architecture.std)):
        if is_array(table.get(name)):
            stored = [round(float(value), 3) for value in np.asarray(table[name]).reshape(-1)]
            facts[name] = f"{stored}, used is {list(own)}"
    levels = [name for name in table if name.startswith(_ANCHORS) and is_array(table[name])]
    if levels:
        agree = all(_anchors_agree(name, table[name]) for name in levels)
        facts["cell anchors"] = f"{len(levels)} stored, {'equal to' if agree else 'OTHER THAN'} those used"
    return facts


def _anchors_agree(name: str, stored: Any) -> bool:
    own = cell_anchors(int(name.removeprefix(_ANCHORS)))
    return tuple(stored.shape) == tuple(own.shape) and torch.allclose(
        torch.as_tensor(stored).float(), own, atol=1e-3
    )


def _all_near(values: Tensor, number: float) -> bool:
    return bool((values - number).abs().max() < EPS / 4)


def _suppressions(judge: UniDetJudge, opened: Open) -> Finding | str:
    image = opened()
    by_rule = {rule: judge.detect_image(image, rule=rule) for rule in ("official", "exact")}
    return f"official {_compared('exact', by_rule['official'], by_rule['exact'])}"


def _colours(judge: UniDetJudge, opened: Open) -> Finding | str:
    image = opened()
    by_colours = {colours: judge.detect_image(image, colours=colours) for colours in ("BGR", "RGB")}
    bgr, rgb = by_colours["BGR"], by_colours["RGB"]
    means = [float(each.scores[:10].mean()) if len(each.scores) else 0.0 for each in (bgr, rgb)]
    return (
        f"BGR (official) {_compared('RGB', bgr, rgb)}; mean of the best ten scores {means[0]:.3f} and {means[1]:.3f}; "
        f"RGB: {best_detections(rgb)}"
    )


def _compared(name: str, first: Detections, second: Detections) -> str:
    """Return how many detections each has, and how many of each the other has not."""
    rows = [
        {(label, *np.round(box, 2).tolist()) for label, box in zip(detections.labels, detections.boxes, strict=True)}
        for detections in (first, second)
    ]
    return (
        f"{len(first.labels)} detections, {name} {len(second.labels)}; {len(rows[0] - rows[1])} and "
        f"{len(rows[1] - rows[0])} of them are in one only"
    )
