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

from silmm.contracts.candidates import Prompt
from silmm.contracts.models import BaseModel, Latent, Preference, SamplingParams, Validate, ValidationScore
from silmm.contracts.records import QUESTIONS
from silmm.contracts.training import Rollout
from silmm.engine.preferences import stored_preferences
from silmm.engine.rollout import PolicyRollout, sample_and_score
from silmm.engine.stages.candidate_views import stored_scores
from silmm.engine.stages.seed_scope import SeedScope
from silmm.errors import DataError
from silmm.storage.paths import IterationFolder

if TYPE_CHECKING:
    from silmm.engine.settings import RunSettings
    from silmm.engine.workers.run_components import Components

LARGEST_SHARE = 4
"""Validation takes at most one in so many prompts away from training."""
FEWEST = 2
"""Prompts that a standard error needs."""


@dataclass(frozen=True)
class TrainerInput:
    """What a training is given of an iteration."""

    preferences: Sequence[Preference]
    validate: Validate | None
    """For a trainer that validates."""
    rollout: Rollout | None
    """For a trainer that needs rollouts."""


def trainer_input(
    settings: RunSettings, components: Components, folder: IterationFolder, scope: SeedScope,
    *, owns_tables: bool = True,
) -> TrainerInput:
    """Return the pairs that the trainer sees, with validation all but those of the prompts that it is on.

    Args:
        settings: of the run.
        components: of the run.
        folder: of the iteration.
        scope: of the iteration.
        owns_tables: whether this process writes the tables of rollouts.

    Raises:
        DataError: too few prompts to validate on, or no pairs beside theirs.
    """
    preferences, options = stored_preferences(folder), components.validation
    held = held_out(folder, options.validation_prompts) if options else None
    excluded = set(held.column("prompt").to_pylist()) if held is not None else set()
    kept = [preference for preference in preferences if preference.prompt not in excluded]
    if not kept:
        raise DataError(
            f"All {len(preferences)} prompts with pairs are among the {len(excluded)} that "
            "trainer.validate_every takes out of training; use more prompts, a smaller "
            "trainer.validation_prompts, or trainer.validate_every=0."
        )
    validate = HeldOutScore(
        components, held, _questions(components, folder, held), scope, images=options.validation_images,
        decodes=settings.decodes_per_candidate, batch=settings.shard_size,
    ) if options and held is not None else None
    rollout = PolicyRollout(
        components, folder, scope,
        prompts=[
            Prompt(row["prompt"], row["category"])
            for row in folder.prompts.table().to_pylist() if row["prompt"] not in excluded
        ],
        questions=folder.table("questions").table() if components.asks_questions else None,
        decodes=settings.decodes_per_candidate, owns_tables=owns_tables,
    ) if "rollout" in components.entry("trainer").needs else None
    return TrainerInput(kept, validate, rollout)


def held_out(folder: IterationFolder, wanted: int) -> pa.Table:
    """Return the PROMPTS at the end of an iteration's table that validation is on, at most a quarter."""
    prompts = folder.prompts.table()
    count = min(wanted, len(prompts) // LARGEST_SHARE)
    return prompts.slice(len(prompts) - count)


def _questions(components: Components, folder: IterationFolder, prompts: pa.Table) -> pa.Table | None:
    """Return the QUESTIONS about some prompts at the end of the iteration's table; None if nobody needs answers.

    Raises:
        DataError: too few prompts, or too few with questions.
    """
    identities = set(prompts.column("prompt_id").to_pylist())
    usable, questions = len(identities), None
    if components.asks_questions:
        first = (folder.prompt_count() - len(prompts)) // folder.shard_size
        stored = folder.table("questions")
        rows = [row for shard in range(first, stored.count) for row in stored.read(shard).to_pylist()]
        asked = [row for row in rows if row["prompt_id"] in identities]
        usable = len({row["prompt_id"] for row in asked})
        questions = pa.Table.from_pylist(asked, schema=QUESTIONS)
    if usable < FEWEST:
        raise DataError(
            f"There are {len(prompts)} prompts to validate on, {usable} of them with questions; at least "
            f"{FEWEST} are needed. Use {LARGEST_SHARE * FEWEST} prompts or more, or trainer.validate_every=0."
        )
    return questions


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
    questions: pa.Table | None
    """QUESTIONS about them; None where nobody needs answers."""
    scope: SeedScope
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
        continuous = self.components.continuous
        _, _, scores = sample_and_score(
            self.components, prompts, self.questions, self.scope,
            images=1 if continuous else self.images, decodes=self.images if continuous else self.decodes,
            sampler=PlainFeatures() if continuous else None,
        )
        by_prompt: dict[str, list[float]] = {}
        for (identity, _), score in stored_scores(scores).items():
            by_prompt.setdefault(identity, []).append(score)
        return [float(np.mean(values)) for values in by_prompt.values()]
