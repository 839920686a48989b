"""Examines the published mPLUG folder for `silmm probe`: its settings, its names, its answers with scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from silmm.checkpoint.weight_files import unpickle
from silmm.errors import DataError
from silmm.storage.user_folders import data_root
from silmm_benchmarks.judges import file_facts
from silmm_benchmarks.judges.judge_probing import JudgeProber, Open
from silmm_benchmarks.judges.mplug.checkpoint import (
    FILES,
    WEIGHTS_FILE,
    check_files,
    differences,
    state_of,
)
from silmm_benchmarks.judges.mplug.config import MPlugConfig, read_config
from silmm_benchmarks.judges.mplug.inputs import LENGTH, Questions
from silmm_benchmarks.judges.mplug.judge import MPlugJudge
from silmm_benchmarks.judges.mplug.model import MPlug
from silmm_benchmarks.judges.options import MPlugOptions

ASKED = ("is there a circle?", "what color is the circle?", "is the circle green?", "what is in the image?")
RANKED = 3
"""Answers of a question that are shown."""
_DEFAULTS = ("image_res", "clip_vision_width", "clip_vision_layers", "clip_vision_patch_size", "min_length",
             "max_length", "beam_size")


class MPlugProber(JudgeProber):
    """A :class:`silmm.probe.Prober` of mPLUG."""

    def files(self, options: MPlugOptions) -> Mapping[str, Any]:
        """Return what the folder's files hold, and whether the weights fit the settings."""
        folder = Path(options.weights).expanduser() if options.weights else data_root() / "mplug"
        facts: dict[str, Any] = {name: file_facts.describe(folder / name) for name in FILES}
        problems: list[str] = []
        config: MPlugConfig | None = None
        try:
            check_files(folder)
            config, _ = read_config(folder)
            facts["settings"] = settings_facts(config)
            questions = Questions(folder, config.bert.vocab_size)
            tokens, _ = questions.encode(ASKED[:1])
            facts["tokens of a question"] = f"{ASKED[0]!r} {tokens[0].tolist()}, {LENGTH} at most"
        except DataError as error:
            problems.append(str(error))
        weights = folder / WEIGHTS_FILE
        if weights.is_file():
            of_weights, wrong = weight_facts(weights, config)
            facts[WEIGHTS_FILE] |= of_weights
            problems += wrong
        return {"folder": str(folder), **facts, "problems": problems}

    def describe(self, judge: MPlugJudge, opened: Open, texts: Sequence[str]) -> str:
        """Return the best answers to each question with their scores."""
        asked = list(texts or ASKED)
        lines = []
        for text, ranked in zip(asked, judge.ranked(opened(), asked), strict=True):
            answers = ", ".join(f"{answer!r} {score:.3f}" for answer, score in ranked[:RANKED])
            lines.append(f"{text!r}: {answers}")
        return "; ".join(lines)


def settings_facts(config: MPlugConfig) -> dict[str, Any]:
    """Return sizes and decoding rule, and which of them are other than the original code's defaults."""
    values = {name: getattr(config, name) for name in _DEFAULTS}
    own = {name: MPlugConfig.model_fields[name].default for name in _DEFAULTS}
    other = [f"{name} {own[name]}" for name in _DEFAULTS if values[name] != own[name]]
    return {
        **values, **config.bert.model_dump(), "image tokens": config.image_tokens,
        "other than the defaults": other or "nothing",
    }


def weight_facts(path: Path, config: MPlugConfig | None) -> tuple[dict[str, Any], list[str]]:
    """Return facts of the file of weights, and what is wrong; without settings, no comparison."""
    facts: dict[str, Any] = {}
    try:
        data = unpickle(path)
        facts["top of the file"] = file_facts.wrapping(data)
        state = state_of(path, data)
    except DataError as error:
        facts["objects beyond tensors"] = file_facts.named(file_facts.foreign_objects(path))
        return facts, [str(error)]
    facts |= file_facts.arrays(state)
    strange = [name for name, value in state.items() if not torch.isfinite(value).all()]
    facts["not finite"] = file_facts.named(strange)
    if config is None:
        return facts, []
    with torch.device("meta"):
        wanted = MPlug(config).state_dict()
    unlike = differences(state, wanted)
    unused = Counter(name.split(".")[0] for name in state if name not in wanted)
    numbers = sum(value.numel() for value in wanted.values())
    facts |= {
        "expected": f"{len(wanted)} tensors of {numbers:,} numbers, of which {_positions(wanted)}",
        **{what: file_facts.named(names) for what, names in unlike.items()},
        "left alone, by part": dict(unused),
    }
    problems = [f"{path} {what} {len(names)}: {', '.join(file_facts.named(names))}"
                for what, names in unlike.items() if names]
    if strange:
        problems.append(f"numbers that are not finite in {', '.join(file_facts.named(strange))}")
    return facts, problems


def _positions(wanted: Mapping[str, torch.Tensor]) -> str:
    name = "visual_encoder.visual.positional_embedding"
    return f"{name} {list(wanted[name].shape)}"
