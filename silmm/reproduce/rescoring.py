"""Scores from stored answers: the tables that stage `score` would commit, without asking the model again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from silmm.engine.stages.candidate_views import view_columns
from silmm.engine.stages.score_stage import RunJudge, score_candidates
from silmm.engine.stages.seed_scope import SeedScope

if TYPE_CHECKING:
    from silmm.contracts.components import Scorer
    from silmm.contracts.models import Image
    from silmm.engine.settings import RunSettings
    from silmm.registry.registry import Registry
    from silmm.storage.paths import IterationFolder
    from silmm.storage.shards import Shards


class _StoredAnswers:
    """Answers the same questions about the same images, in the same order, from a stored table."""

    def __init__(self, answers: pa.Table) -> None:
        """Group the rows of ANSWERS by image, in their order."""
        self._by_image: dict[tuple[str, int, int], list[tuple[float, float]]] = {}
        for row in answers.to_pylist():
            pair = tuple(np.nan if row[side] is None else row[side] for side in ("p_yes", "p_no"))
            image = (row["prompt_id"], row["candidate"], row["decode"])
            images = self._by_image.setdefault(image, [])
            images.append(cast("tuple[float, float]", pair))

    def yes_no(
        self, images: Sequence[Image], questions: Sequence[Sequence[str]]
    ) -> list[npt.NDArray[np.float64]]:
        """Return the stored (n_questions, 2) array of each image; stage `score` checks their number."""
        del images, questions
        return [np.array(pairs, dtype=np.float64) for pairs in self._by_image.values()]


def score_stored_answers(
    settings: RunSettings, registry: Registry, iteration: int, answers: Shards, folder: IterationFolder
) -> None:
    """Commit the shards of stage `score` that are missing in `folder`, from the answers of another run.

    Args:
        settings: of the run that `folder` belongs to.
        registry: holds its scorer.
        iteration: its number, part of the scorer's seeds.
        answers: ANSWERS about the same candidates and questions.
        folder: of the iteration, with its prompts, candidates and questions.
    """
    entry, options = settings.entry(registry, "scorer"), settings.options["scorer"]
    scorer = cast("Scorer", registry.build("scorer", settings.scorer, options))
    prompts, size = folder.prompts.table(), settings.shard_size
    for shard in folder.missing("score"):
        answer_table, scores, counts = score_candidates(
            RunJudge(_StoredAnswers(answers.read(shard))), scorer, prompts.slice(shard * size, size),
            folder.table("candidates").read(shard, view_columns(entry.needs, images=True)),
            folder.table("questions").read(shard), scope=SeedScope(settings.seed, iteration),
            needs=entry.needs, lend_judge=False, who=entry.described,
        )
        folder.table("answers").commit(shard, answer_table)
        folder.table("scores").commit(shard, scores, counts)
