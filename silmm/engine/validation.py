"""Validation of a training: the score of the model's images of prompts that it never trains on.

The policy samples and decodes as in stage `sample`, and whoever answers in stage `score` (the policy itself, or
the run's judge model) answers here, with the run's own questions and scorer. No benchmark is involved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from silmm.contracts.models import BaseModel, Latent, Preference, SamplingParams, Validate, ValidationScore
from silmm.contracts.records import QUESTIONS
from silmm.engine import stages
from silmm.engine.preferences import stored_preferences
from silmm.errors import DataError
from silmm.storage.paths import IterationFolder

if TYPE_CHECKING:
    from silmm.engine.local_executor import Components
    from silmm.engine.settings import RunSettings

LARGEST_SHARE = 4
"""Validation takes at most one in so many prompts away from training."""
FEWEST = 2
"""Prompts that a standard error needs."""


def trainer_input(
    settings: RunSettings, components: Components, folder: IterationFolder, scope: stages.SeedScope
) -> tuple[list[Preference], Validate | None]:
    """Return the pairs that the trainer sees, and what validates it; without validation these are all pairs.

    Raises:
        DataError: too few prompts to validate on, or no pairs beside theirs.
    """
    preferences, options = stored_preferences(folder), components.validation
    if options is None:
        return preferences, None
    prompts = held_out(folder, options.validation_prompts)
    validate = HeldOutScore(
        components, prompts, _questions(folder, prompts), scope, images=options.validation_images,
        decodes=settings.decodes_per_candidate, batch=settings.shard_size,
    )
    texts = set(prompts.column("prompt").to_pylist())
    kept = [preference for preference in preferences if preference.prompt not in texts]
    if not kept:
        raise DataError(
            f"All {len(preferences)} prompts with pairs are among the {len(texts)} that "
            "trainer.validate_every takes out of training; use more prompts, a smaller "
            "trainer.validation_prompts, or trainer.validate_every=0."
        )
    return kept, validate


def held_out(folder: IterationFolder, wanted: int) -> pa.Table:
    """Return the PROMPTS at the end of an iteration's table that validation is on, at most a quarter."""
    prompts = folder.prompts.table()
    count = min(wanted, len(prompts) // LARGEST_SHARE)
    return prompts.slice(len(prompts) - count)


def _questions(folder: IterationFolder, prompts: pa.Table) -> pa.Table:
    """Return the QUESTIONS about some prompts at the end of the iteration's table."""
    first = (folder.prompt_count() - len(prompts)) // folder.shard_size
    stored = folder.table("questions")
    known = set(prompts.column("prompt_id").to_pylist())
    rows = [row for shard in range(first, stored.count) for row in stored.read(shard).to_pylist()]
    asked = [row for row in rows if row["prompt_id"] in known]
    count = len({row["prompt_id"] for row in asked})
    if count < FEWEST:
        raise DataError(
            f"There are {len(prompts)} prompts to validate on, {count} of them with questions; at least "
            f"{FEWEST} are needed. Use {LARGEST_SHARE * FEWEST} prompts or more, or trainer.validate_every=0."
        )
    return pa.Table.from_pylist(asked, schema=QUESTIONS)


class PlainFeatures:
    """Samples H(x) of a continuous model as it is: what makes candidates differ is off."""

    def sample(self, model: BaseModel, prompts: Sequence[str], seeds: Sequence[int]) -> list[Latent]:
        """Return H of each prompt."""
        return model.represent(prompts, seeds, SamplingParams())


@dataclass(frozen=True)
class HeldOutScore:
    """Scores the model as it stands; call after call the seeds are the same, so only the weights count."""

    components: Components
    prompts: pa.Table
    """PROMPTS."""
    questions: pa.Table
    """QUESTIONS about them."""
    scope: stages.SeedScope
    """Seeds are those of stages `sample` and `score`: a discrete reference gets its candidates' scores."""
    images: int
    """Of each prompt: samples of a discrete model, decoder noises of a continuous one."""
    decodes: int
    """Decoder noises of each sample of a discrete model."""
    batch: int
    """Prompts that are sampled at once."""

    def __call__(self) -> ValidationScore:
        """Return the mean over the prompts, each the mean over its images that have a score.

        Raises:
            DataError: fewer than two prompts have a score.
        """
        means = [
            mean for first in range(0, len(self.prompts), self.batch)
            for mean in self._means(self.prompts.slice(first, self.batch))
        ]
        if len(means) < FEWEST:
            raise DataError(
                f"Validation: {len(means)} of {len(self.prompts)} prompts have a finite score; the weights "
                "may be damaged. Lower trainer.learning_rate in a new run directory."
            )
        error = float(np.std(means, ddof=1) / np.sqrt(len(means)))
        return ValidationScore(float(np.mean(means)), error, len(means))

    def _means(self, prompts: pa.Table) -> list[float]:
        model: BaseModel = self.components.get("model")
        if self.components.continuous:
            sampled, _ = stages.sample_candidates(
                model, PlainFeatures(), prompts, 1, self.scope, self.images
            )
        else:
            sampled, _ = stages.sample_candidates(
                model, self.components.get("sampler"), prompts, self.images, self.scope, self.decodes
            )
        _, scores, _ = stages.score_candidates(
            self.components.judge() or model, self.components.get("scorer"), prompts, sampled, self.questions,
            scope=self.scope,
        )
        by_prompt: dict[str, list[float]] = {}
        for row in scores.to_pylist():
            if row["status"] == stages.OK:
                by_prompt.setdefault(row["prompt_id"], []).append(row["score"])
        return [float(np.mean(values)) for values in by_prompt.values()]
