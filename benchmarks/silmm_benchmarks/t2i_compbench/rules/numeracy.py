"""The numeracy score of an image: wanted objects and their numbers (docs/spec/benchmarks.md 1.9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from silmm.contracts.benchmarks import Mode
from silmm.contracts.judges import Detections
from silmm_benchmarks.t2i_compbench.prompts.related_objects import person
from silmm_benchmarks.t2i_compbench.rules.box_geometry import Box, is_duplicate
from silmm_benchmarks.t2i_compbench.rules.label_matching import called

Wanted = Sequence[tuple[str, int]]

_ONE = {"a": 1, "an": 1, "one": 1}
NUMBERS = {**_ONE, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
RENAMED = {"ship": "boat", "telivision": "tv", "goldfish": "fish", "painting": "picture"}
"""Words that the script searches for under another name; the second is spelt as in the official list."""


def wanted_objects(words: Sequence[str], singular_of: Mapping[str, str]) -> list[tuple[str, int]]:
    """Return what a prompt asks for and how often, in order.

    Args:
        words: the prompt's tokens.
        singular_of: plural -> singular, of the official list `new_objects.txt`.

    Raises:
        ValueError: a number above one stands before a singular of one word; the official script stops there.
    """
    singulars = frozenset(singular_of.values())
    wanted: list[tuple[str, int]] = []
    for position, word in enumerate(words):
        number = NUMBERS.get(word)
        if number is None:
            continue
        two_words = " ".join(words[position + 1 : position + 3]) if position < len(words) - 2 else ""
        one_word = words[position + 1] if position + 1 < len(words) else ""
        if two_words in singular_of:
            wanted.append((singular_of[two_words], number))
        elif two_words in singulars:
            wanted.append((two_words, 1))
        elif one_word in singulars and word in _ONE:
            wanted.append((one_word, 1))
        elif one_word in singular_of:
            wanted.append((singular_of[one_word], number))
        elif one_word in singulars:
            raise ValueError(f"{word!r} stands before the singular {one_word!r}")
    return wanted


def distinct(labels: Sequence[str], boxes: Sequence[Box]) -> list[int]:
    """Return the indices that are kept: of boxes that show one object under one label, the first."""
    kept: list[int] = []
    for index, label in enumerate(labels):
        same = (earlier for earlier in kept if labels[earlier] == label)
        if not any(is_duplicate(boxes[earlier], boxes[index]) for earlier in same):
            kept.append(index)
    return kept


def numeracy_score(detections: Detections, wanted: Wanted, mode: Mode = Mode.OFFICIAL) -> float:
    """Return an image's score in [0, 1]: half of each object's share for presence, half for the right number.

    `official` counts labels that equal the word, or, where none does, all that contain it; `fixed` counts
    labels that name the word or a synonym, one object under several of them once.

    Raises:
        ValueError: nothing is wanted; the official script stops there.
    """
    if not wanted:
        raise ValueError("the prompt names no number of things from the official list")
    count = _Official(detections) if mode is Mode.OFFICIAL else _Named(detections)
    score = 0.0
    for word, number in wanted:
        present = count.of(RENAMED.get(person(word), person(word)))
        score += (0.5 * (present > 0) + 0.5 * (present == number)) / len(wanted)
    return score


class _Official:
    """Counts by equality, else by substring; labels renamed for one word stay renamed for the next."""

    def __init__(self, detections: Detections) -> None:
        kept = distinct(detections.labels, detections.boxes.tolist())
        self._labels = [detections.labels[index] for index in kept]

    def of(self, word: str) -> int:
        if word not in self._labels:
            self._labels = [word if word in label else label for label in self._labels]
        return self._labels.count(word)


class _Named:
    """Counts distinct boxes whose label names the word."""

    def __init__(self, detections: Detections) -> None:
        self._detections = detections

    def of(self, word: str) -> int:
        indices = [index for index, label in enumerate(self._detections.labels) if called(label, word)]
        boxes = self._detections.boxes.tolist()
        return len(distinct([word] * len(indices), [boxes[index] for index in indices]))
