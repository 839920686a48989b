"""Candidates as scorers and pair rules see them: views of table rows, whose arrays are read-only."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from silmm.contracts.candidates import Candidate, Prompt, Question
from silmm.contracts.models import Image, Latent
from silmm.contracts.registration import Need
from silmm.engine.stages.seed_scope import SeedScope
from silmm.errors import PluginError
from silmm.storage.tables import decode_png

OK = "ok"
"""Status of a candidate that has a score."""
IMAGES = ("image", "further_images")
Key: TypeAlias = tuple[str, int]
"""prompt_id and number of a candidate."""
Answers: TypeAlias = Mapping[Key, npt.NDArray[np.float64]]
"""p(yes), p(no) about each candidate, (decodes, n_questions, 2)."""


def view_columns(needs: Collection[Need], *, images: bool = False) -> list[str]:
    """Return the columns of CANDIDATES that views are made of; those of images where they are needed."""
    with_images = images or "images" in needs
    return ["prompt_id", "candidate", "seed", "z", "shape", "latent_id", "meta", *(IMAGES if with_images else ())]


def candidate_groups(
    prompts: pa.Table,
    candidates: pa.Table,
    scope: SeedScope,
    *,
    questions: pa.Table | None = None,
    answers: Answers | None = None,
    scores: pa.Table | None = None,
    latents: Mapping[Key, Latent] | None = None,
) -> list[list[Candidate]]:
    """Return the candidates of each prompt, by number.

    Args:
        prompts: PROMPTS of one shard.
        candidates: the columns of :func:`view_columns`, of the same prompts.
        scope: that the scorer's seeds depend on.
        questions: QUESTIONS about the prompts; None where nothing was asked.
        answers: about the candidates' images, where something was asked.
        scores: SCORES, once there are some.
        latents: features of the candidates; image tokens stand in the table.
    """
    by_prompt = questions_of(questions)
    score_of = stored_scores(scores)
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for row in candidates.to_pylist():
        rows.setdefault(row["prompt_id"], []).append(row)
    return [
        [
            StoredCandidate(
                row, Prompt(prompt["prompt"], prompt["category"]), scope, by_prompt.get(prompt["prompt_id"], ()),
                (answers or {}).get(_key(row)), score_of.get(_key(row)), latents,
            )
            for row in sorted(rows.get(prompt["prompt_id"], ()), key=lambda row: int(row["candidate"]))
        ]
        for prompt in prompts.to_pylist()
    ]


def questions_of(questions: pa.Table | None) -> dict[str, tuple[Question, ...]]:
    """Return the questions of each prompt_id that has some."""
    groups: dict[str, list[Question]] = {}
    for row in questions.to_pylist() if questions is not None else ():
        groups.setdefault(row["prompt_id"], []).append(Question(row["question"], row["statement"] or ""))
    return {identity: tuple(group) for identity, group in groups.items()}


def stored_answers(answers: pa.Table) -> dict[Key, npt.NDArray[np.float64]]:
    """Return the answers of ANSWERS, (decodes, n_questions, 2) per candidate; NaN where a cell is null."""
    values: dict[Key, dict[int, list[tuple[float, float]]]] = {}
    for row in answers.to_pylist():
        yes, no = (np.nan if row[side] is None else row[side] for side in ("p_yes", "p_no"))
        values.setdefault(_key(row), {}).setdefault(row["decode"], []).append((yes, no))
    return {
        key: np.array([decodes[number] for number in sorted(decodes)], dtype=np.float64)
        for key, decodes in values.items()
    }


def stored_scores(scores: pa.Table | None) -> dict[Key, float]:
    """Return the scores of the candidates that have one."""
    rows = scores.to_pylist() if scores is not None else ()
    return {_key(row): row["score"] for row in rows if row["status"] == OK}


def _key(row: Mapping[str, Any]) -> Key:
    return row["prompt_id"], row["candidate"]


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a view of an array that cannot be written through."""
    view = array.view()
    view.setflags(write=False)
    return view


class StoredCandidate(Candidate):
    """A candidate whose latent and images are made of its row when they are first touched."""

    def __init__(
        self,
        row: Mapping[str, Any],
        prompt: Prompt,
        scope: SeedScope,
        questions: tuple[Question, ...],
        answers: npt.NDArray[np.float64] | None,
        score: float | None,
        latents: Mapping[Key, Latent] | None,
    ) -> None:
        """Bind the view to a row of CANDIDATES."""
        number = int(row["candidate"])
        super().__init__(
            prompt=prompt, index=number, seed=row["seed"],
            score_seed=scope.derive("score", prompt.text, number),
            latent=np.empty(0), images=_StoredImages(row),
            meta=MappingProxyType(json.loads(row["meta"]) if row["meta"] else {}),
            questions=questions, answers=None if answers is None else read_only(answers), score=score,
        )
        object.__delattr__(self, "latent")  # so that __getattr__ makes it
        object.__setattr__(self, "_read_latent", lambda: _latent(row, latents))

    _read_latent: Callable[[], Latent]

    def __getattr__(self, name: str) -> Any:  # only called for what is not there
        """Make the latent."""
        if name != "latent":
            raise AttributeError(name)
        object.__setattr__(self, name, read_only(self._read_latent()))
        return self.latent


def _latent(row: Mapping[str, Any], latents: Mapping[Key, Latent] | None) -> Latent:
    if row["z"] is not None:
        return np.array(row["z"], dtype=np.int32).reshape(row["shape"])
    if latents is None:
        raise _undeclared("latents", "features of a continuous model")
    return latents[_key(row)]


class _StoredImages(Sequence[Image]):
    """The images of a candidate, each decoded when it is first touched."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self._pngs = (row["image"], *(row["further_images"] or ())) if IMAGES[0] in row else None
        self._decoded: dict[int, Image] = {}

    def __len__(self) -> int:
        if self._pngs is None:
            raise _undeclared("images", "images of candidates")
        return len(self._pngs)

    @overload
    def __getitem__(self, position: int) -> Image: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[Image]: ...
    def __getitem__(self, position: int | slice) -> Image | Sequence[Image]:
        numbers = range(len(self))[position]
        return self._image(numbers) if isinstance(numbers, int) else [self._image(number) for number in numbers]

    def _image(self, number: int) -> Image:
        if number not in self._decoded:
            self._decoded[number] = read_only(decode_png((self._pngs or ())[number]))
        return self._decoded[number]


def _undeclared(need: str, what: str) -> PluginError:
    return PluginError(
        f"A component uses the {what} without having said so: its plugin must register it with needs=[{need!r}]."
    )
