"""Examines the published BLIP-VQA file for `silmm probe`: names, positions, vocabulary, mass of yes and no."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from silmm.errors import DataError
from silmm_benchmarks.judges import file_facts
from silmm_benchmarks.judges.judge_probing import STATEMENTS, JudgeProber, Open
from silmm_benchmarks.judges.options import BlipVqaOptions
from silmm_benchmarks.judges.vqa.blip_checkpoint import PREFIXES, SIZE, read_original
from silmm_benchmarks.judges.vqa.blip_vqa import DECODE, ENCODE, NO, YES, BlipVqa, vocabulary_of
from silmm_benchmarks.judges.weight_files import locate, weight_files

_POSITIONS = "visual_encoder.pos_embed"
_PATCHES = "visual_encoder.patch_embed.proj.weight"
_WORDS = (
    "text_encoder.embeddings.word_embeddings.weight", "text_decoder.bert.embeddings.word_embeddings.weight",
)
_DIMENSIONS = {_POSITIONS: 3, _PATCHES: 4, **dict.fromkeys(_WORDS, 2)}
"""Array -> how many sides it has."""
LEAST_MASS = 0.1
"""Yes and no together; with less, the decoder wants to say something else."""


class BlipVqaProber(JudgeProber):
    """A :class:`silmm.probe.Prober` of BLIP-VQA in either layout."""

    def files(self, options: BlipVqaOptions) -> Mapping[str, Any]:
        """Return what the weights and the vocabulary are."""
        facts = dict(super().files(options))
        if "problems" in facts:
            return facts
        path = locate("blip-vqa", options.weights)
        problems: list[str] = []
        vocabulary = vocabulary_of(options, path)
        facts["vocabulary"], wrong = vocabulary_facts(vocabulary)
        problems += wrong
        if path.is_dir() and (path / "config.json").is_file():
            facts["layout"] = "HF conversion: the position embedding is interpolated unless it is 30x30"
        else:
            for file in weight_files(path):
                of_file, wrong = weight_facts(file)
                facts[file.name] = {**facts[file.name], **of_file}
                problems += wrong
        return {**facts, "problems": problems}

    def describe(self, judge: BlipVqa, opened: Open, texts: Sequence[str]) -> str:
        """Return P(yes) of each question, both logits, and how probable yes and no are among all words."""
        asked = list(texts or STATEMENTS)
        (logits,) = judge.first_word_logits([opened()], [asked])
        lines = []
        for text, row in zip(asked, logits, strict=True):
            words = np.exp(row - row.max())
            yes, no = words[[YES, NO]] / words.sum()
            lines.append(
                f"{text!r}: P(yes) {yes / (yes + no):.4f}, logits {row[YES]:.3f} and {row[NO]:.3f}, "
                f"yes and no are {yes + no:.4f} of all" + ("" if yes + no >= LEAST_MASS else " (LITTLE)")
            )
        return "; ".join(lines)


def vocabulary_facts(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return facts of vocab.txt, and what is wrong with it."""
    facts = file_facts.describe(path)
    if not path.is_file():
        return facts, [f"{path} does not exist; it is vocab.txt of bert-base-uncased"]
    words = path.read_text(encoding="utf-8", errors="replace").splitlines()
    ids = {word: words.index(word) if word in words else None for word in ("yes", "no", "[CLS]", "[SEP]")}
    facts |= {"words": len(words), "ids": ids}
    if (ids["yes"], ids["no"]) != (YES, NO) or len(words) not in (DECODE, DECODE + 2):
        return facts, [
            f"{path} has {len(words)} words, yes {ids['yes']}, no {ids['no']}; {DECODE}, {YES} and {NO} were "
            "expected"
        ]
    return facts, []


def weight_facts(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return facts of a file of the original layout, and what is wrong with it."""
    try:
        data, table = read_original(path)
    except DataError as error:
        return {"objects beyond tensors": file_facts.named(file_facts.foreign_objects(path))}, [str(error)]
    shapes = {name: list(getattr(value, "shape", ())) for name, value in table.items()}
    parts = Counter(name.split(".")[0] for name in table)
    strange = [name for name in table if not name.startswith(PREFIXES)]
    sizes = {
        "positions": _cells(shapes), "words": {name: (shapes.get(name) or ["none"])[0] for name in _WORDS},
    }
    facts = {
        "top of the file": file_facts.wrapping(data), **file_facts.arrays(table), "by part": dict(parts),
        "unknown": file_facts.named(strange), **sizes,
        "[DEC] and [ENC]": f"{DECODE} and {ENCODE}: the last two of {ENCODE + 1} words",
    }
    return facts, [*_size_problems(shapes), *([f"unknown names: {', '.join(file_facts.named(strange))}"]
                                             if strange else [])]


def _cells(shapes: Mapping[str, Sequence[int]]) -> str:
    if len(shapes.get(_POSITIONS, ())) != 3 or len(shapes.get(_PATCHES, ())) != 4:
        return "none"
    cells, patch = shapes[_POSITIONS][1] - 1, shapes[_PATCHES][-1]
    return f"{cells} + 1, patches of {patch}; {(SIZE // patch) ** 2} + 1 are expected at {SIZE} pixels"


def _size_problems(shapes: Mapping[str, Sequence[int]]) -> list[str]:
    problems = [
        f"{name} has the shape {shapes[name]}" if name in shapes else f"no {name}"
        for name, sides in _DIMENSIONS.items() if len(shapes.get(name, ())) != sides
    ]
    if problems:
        return problems
    if shapes[_POSITIONS][1] - 1 != (SIZE // shapes[_PATCHES][-1]) ** 2:
        problems.append(f"positions are {_cells(shapes)}")
    problems += [
        f"{name} has {shapes[name][0]} words; {ENCODE + 1} were expected" for name in _WORDS
        if shapes[name][0] != ENCODE + 1
    ]
    return problems
