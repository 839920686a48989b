"""Tables that one process makes for all shards of an iteration: its prompts and its pairs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from silmm.contracts.components import PrompterResult
from silmm.engine.session import Session
from silmm.engine.stages.candidate_views import stored_answers, view_columns
from silmm.engine.stages.pair_stage import allowed_pairs, choose_pairs
from silmm.engine.stages.prompt_stage import keep_prompts, write_prompts
from silmm.engine.stages.seed_scope import SeedScope
from silmm.errors import DataError
from silmm.storage.atomic_files import atomic_write
from silmm.storage.json_files import to_json
from silmm.storage.paths import IterationFolder
from silmm.storage.tables import prompt_table, read_pairs, read_prompts


class WholeTables:
    """Makes the tables of one iteration that are not made shard by shard."""

    def __init__(
        self, session: Session, folder: IterationFolder, scope: SeedScope, reference: Path | None
    ) -> None:
        """Bind to the iteration in `folder`, whose model starts from adapter `reference`."""
        self._session = session
        self._settings = session.settings
        self._folder = folder
        self._scope = scope
        self._reference = reference

    def prompts(self) -> pa.Table:
        """Make and commit the prompts, from the prompter or the user's file, and count what was dropped.

        Raises:
            DataError: no prompt is left, or a file cannot be read.
        """
        result = self._new_prompts()
        self._settings.require(self._session.identity)  # what was just read is what run.json names
        self._check_some(result)
        atomic_write(self._folder.prompter, to_json(self._prompter_counts(result)))
        table = prompt_table(result.prompts)
        self._folder.prompts.commit(0, table, result.rejected)
        return table

    def _new_prompts(self) -> PrompterResult:
        limit, wanted = self._settings.limit, self._settings.prompts
        if isinstance(wanted, str):
            return keep_prompts(
                read_prompts(Path(wanted)), limit, self._session.excluded,
                reads=self._session.components.model(self._reference).reads,
            )
        self._session.progress("prompts", 0, count := min(wanted, limit or wanted))
        return write_prompts(
            self._session.components.model(self._reference),
            self._session.components.get("prompter"),
            count, self._scope, self._session.excluded, self._session.components.entry("prompter").described,
        )

    def _prompter_counts(self, result: PrompterResult) -> dict[str, object]:
        asked = self._settings.prompts
        return {
            "asked": asked if isinstance(asked, int) else None,
            "limit": self._settings.limit,
            "made": len(result.prompts),
            "partial": self._settings.limit is not None,
            "rejected": dict(result.rejected),
        }

    def _check_some(self, result: PrompterResult) -> None:
        if not result.prompts:
            raise DataError(
                f"No prompt is left to work on: {described(result.rejected)}. "
                "Ask for more prompts, or give other ones with --prompts FILE."
            )

    def pairs(self) -> tuple[pa.Table, dict[str, int]]:
        """Return the pairs, by the pair rule or from the user's file, and what was dropped.

        Raises:
            DataError: no pair is left, or a file cannot be read or does not suit the model.
        """
        counts: dict[str, int] = {}
        if self._settings.pairs is not None:
            table, counts = allowed_pairs(
                self._own_pairs(Path(self._settings.pairs)), self._settings.limit, self._session.excluded
            )
            self._settings.require(self._session.identity)
        else:
            table, counts = self._chosen_pairs()
        if not table.num_rows:
            if self._settings.pairs is not None:
                raise DataError(
                    f"{self._settings.pairs} holds not one pair to train on ({described(counts)}). Give pairs "
                    "of prompts that the benchmark does not hold out, or --benchmark none."
                )
            scored = self._folder.table("scores").totals()
            raise DataError(
                f"There is not one pair to train on ({described({**scored, **counts})}). Look at the "
                f"scores in {self._folder.path}; another pair rule or scorer, or more images per "
                "prompt, may help."
            )
        return table, counts

    def _own_pairs(self, path: Path) -> pa.Table:
        table = read_pairs(path)
        continuous = self._session.components.continuous
        column, kind = ("features", "continuous") if continuous else ("z", "discrete")
        without = table[f"chosen_{column}"].null_count + table[f"rejected_{column}"].null_count
        if without:
            raise DataError(
                f"{path}: --model {self._settings.model} is {kind}, so each pair needs 'chosen_{column}' and "
                f"'rejected_{column}'; {without} of them are missing."
            )
        return table

    def _chosen_pairs(self) -> tuple[pa.Table, dict[str, int]]:
        components, folder = self._session.components, self._folder
        entry, rule = components.entry("pair-rule"), components.get("pair-rule")
        prompts, size = folder.prompts.table(), self._settings.shard_size
        parts: list[pa.Table] = []
        total: dict[str, int] = {}
        for shard in range(folder.shard_count()):
            part = prompts.slice(shard * size, size)
            candidates = folder.table("candidates").read(shard, view_columns(entry.needs))
            asked = "answers" in entry.needs
            table, counts = choose_pairs(
                rule, part, candidates, folder.table("scores").read(shard),
                scope=self._scope, who=entry.described,
                questions=folder.table("questions").read(shard) if asked else None,
                answers=stored_answers(folder.table("answers").read(shard)) if asked else None,
                latents=components.latents(
                    "pair-rule", lambda: components.model(self._reference), part, candidates
                ),
            )
            parts.append(table)
            total = _added(total, counts)
            self._session.progress("pairs", min((shard + 1) * size, len(prompts)), len(prompts))
        return pa.concat_tables(parts), total


def _added(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    return {name: first.get(name, 0) + second.get(name, 0) for name in {**first, **second}}


def described(counts: Mapping[str, int]) -> str:
    """Return counts for a message."""
    return ", ".join(f"{name}: {number}" for name, number in counts.items()) or "no rows at all"
