"""Candidates of the policy as it stands, scored by the run's own scorer: for validation and on-policy training."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from silmm.contracts.candidates import Candidate, Prompt
from silmm.contracts.components import Sampler
from silmm.contracts.models import BaseModel, Latent
from silmm.engine.stages.candidate_views import Key, candidate_groups, stored_answers
from silmm.engine.stages.sample_stage import resample_features, sample_candidates
from silmm.engine.stages.score_stage import score_candidates
from silmm.engine.stages.seed_scope import SeedScope
from silmm.errors import PluginError
from silmm.storage.feature_store import FeatureReader, FeatureShards
from silmm.storage.paths import FEATURES, IterationFolder
from silmm.storage.shards import Shards
from silmm.storage.tables import prompt_table

if TYPE_CHECKING:
    from silmm.engine.workers.run_components import Components

POLICY = "policy in training"
"""Adapter in the identity of a judge that is the policy itself."""
IMAGES_PER_PROMPT = "images_per_prompt"
PAUSE = 0.5
"""Seconds between two looks for the tables of the process that samples."""


def sample_and_score(
    components: Components,
    prompts: pa.Table,
    questions: pa.Table | None,
    scope: SeedScope,
    *,
    images: int,
    decodes: int,
    sampler: Sampler | None = None,
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Return CANDIDATES, ANSWERS and SCORES of prompts, by the model with the weights that it carries.

    Args:
        components: of the run; the judge model answers where there is one, else the policy itself.
        prompts: PROMPTS.
        questions: QUESTIONS about them; None where nobody needs answers.
        scope: of all seeds.
        images: candidates per prompt.
        decodes: decoder noises per candidate.
        sampler: in place of the run's own.
    """
    model: BaseModel = components.get("model")
    scorer = components.entry("scorer")
    candidates, _ = sample_candidates(
        model, sampler or components.get("sampler"), prompts, images, scope, decodes,
        components.entry("sampler").described,
    )
    answers, scores, _ = score_candidates(
        components.judge(lambda: model, POLICY), components.get("scorer"), prompts, candidates, questions,
        scope=scope, needs=scorer.needs, who=scorer.described,
        latents=components.latents("scorer", lambda: model, prompts, candidates, sampler),
    )
    return candidates, answers, scores


@dataclass(frozen=True)
class PolicyRollout:
    """Rolls the policy out and keeps the tables under the training's folder, as `rollout-STEP`.

    A step that is called again, after a kill, gives what is stored. Seeds depend on run, iteration, step, prompt
    and index.
    """

    components: Components
    folder: IterationFolder
    scope: SeedScope
    """Of the iteration."""
    prompts: Sequence[Prompt]
    """Those of the iteration that are trained on."""
    questions: pa.Table | None
    """QUESTIONS about the iteration's prompts, asked once, in its stage `questions`; None: nobody needs answers."""
    decodes: int
    owns_tables: bool = True
    """Whether this process samples and writes; the others of a launcher wait for the tables."""

    def __call__(self, prompts: Sequence[Prompt], images_per_prompt: int, step: int) -> list[list[Candidate]]:
        """Return the candidates of each prompt, scored where the scorer could.

        Raises:
            PluginError: a prompt is none of :attr:`prompts`, or the step was rolled out for others before.
        """
        size = self.folder.shard_size
        requested, count = prompt_table(prompts), -(-len(prompts) // size)
        self._check_known(prompts)
        folder, scope = self.folder.work / f"rollout-{step}", self.scope.within("rollout", step)
        self._commit_request(Shards(folder / "prompts", 1), requested, images_per_prompt, step)
        tables = [Shards(folder / name, count) for name in ("candidates", "answers", "scores")]
        features = FeatureShards(folder / FEATURES, count) if self.components.continuous else None
        groups: list[list[Candidate]] = []
        for shard in range(count):
            part = requested.slice(shard * size, size)
            written = [*tables, *([features] if features else [])]
            if self.owns_tables and not all(table.done(shard) for table in written):
                self._fill(tables, features, shard, part, images_per_prompt, scope)
            while not all(table.done(shard) for table in written):
                time.sleep(PAUSE)
            candidates, answers, scores = (table.read(shard) for table in tables)
            groups += candidate_groups(
                part, candidates, scope, questions=self._about(part), answers=stored_answers(answers),
                scores=scores, latents=_stored_features(features, shard, candidates),
            )
        return groups

    def _check_known(self, prompts: Sequence[Prompt]) -> None:
        foreign = [prompt for prompt in prompts if prompt not in self.prompts]
        if foreign:
            raise PluginError(
                f"The trainer asked for a rollout of {foreign[0].text!r}, which is none of the "
                f"{len(self.prompts)} prompts that this iteration trains on (`rollout.prompts`)."
            )

    def _commit_request(self, request: Shards, prompts: pa.Table, images_per_prompt: int, step: int) -> None:
        """Store what a step was asked for, or compare it with what was stored."""
        if self.owns_tables and not request.done(0):
            request.commit(0, prompts, {IMAGES_PER_PROMPT: images_per_prompt})
        while not request.done(0):
            time.sleep(PAUSE)
        if not request.read(0).equals(prompts) or request.totals()[IMAGES_PER_PROMPT] != images_per_prompt:
            raise PluginError(
                f"The trainer asked step {step} for other prompts or images than before, so that what is stored in "
                f"{request.folder.parent} is not its rollout. A training must repeat itself after a kill."
            )

    def _about(self, prompts: pa.Table) -> pa.Table | None:
        if self.questions is None:
            return None
        return self.questions.filter(pc.is_in(self.questions["prompt_id"], prompts["prompt_id"].combine_chunks()))

    def _fill(
        self, tables: Sequence[Shards], features: FeatureShards | None, shard: int, prompts: pa.Table,
        images_per_prompt: int, scope: SeedScope,
    ) -> None:
        made = sample_and_score(
            self.components, prompts, self._about(prompts), scope, images=images_per_prompt, decodes=self.decodes
        )
        if features is not None:
            model, sampler = self.components.get("model"), self.components.get("sampler")
            features.commit_features(shard, resample_features(model, sampler, prompts, made[0]))
        for table, content in zip(tables, made, strict=True):
            table.commit(shard, content)


def _stored_features(features: FeatureShards | None, shard: int, candidates: pa.Table) -> dict[Key, Latent] | None:
    if features is None:
        return None
    reader = FeatureReader(features)
    keys = zip(candidates["prompt_id"].to_pylist(), candidates["candidate"].to_pylist(), strict=True)
    return {(identity, number): reader.read(shard, identity, number) for identity, number in keys}
