"""From pairs to preferences: each prompt's candidates once, with the pairs among them, for trainers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from silmm.contracts.models import Latent, Preference
from silmm.errors import DataError
from silmm.storage.feature_store import FeatureReader, KeptFeatures
from silmm.storage.paths import IterationFolder

Stored: TypeAlias = Callable[[str, Sequence[int]], Sequence[Latent]]
"""Gives the kept features of some candidates, by number, of the prompt with an id."""


def stored_preferences(folder: IterationFolder) -> list[Preference]:
    """Return the pairs of an iteration as its trainer takes them."""
    if folder.prompts.missing() or folder.features.missing():  # own pairs, or a discrete model
        return preferences(folder.pairs.table())
    prompts = folder.prompts.table(["prompt_id"])["prompt_id"].to_pylist()
    shard_of = {identity: position // folder.shard_size for position, identity in enumerate(prompts)}
    reader = FeatureReader(folder.features)

    def stored(identity: str, candidates: Sequence[int]) -> Sequence[Latent]:
        return KeptFeatures(reader, shard_of[identity], identity, candidates)

    return preferences(folder.pairs.table(), stored)


def preferences(pairs: pa.Table, stored: Stored | None = None) -> list[Preference]:
    """Group the pairs by prompt, each representation once, in the order of the table.

    Args:
        pairs: PAIRS; candidate numbers may be null where both z or both features are given (a user's
            own pairs).
        stored: gives the features of a continuous model's candidates, whose pairs hold none.

    Raises:
        DataError: a pair has neither z nor features, and none are stored.
    """
    groups: dict[str, _Group] = {}
    for row in pairs.to_pylist():
        group = groups.setdefault(row["prompt_id"], _Group(row["prompt"]))
        group.pairs.append((group.position(row, "chosen"), group.position(row, "rejected")))
        group.weights.append(1.0 if row["weight"] is None else row["weight"])
    return [
        Preference(
            group.prompt, group.all_latents(identity, stored), tuple(group.pairs), tuple(group.weights),
            tuple(group.scores.values()),
        )
        for identity, group in groups.items()
    ]


def candidates_of(pairs: pa.Table) -> dict[str, set[int]]:
    """Return the numbers of the candidates that are in some pair, by prompt_id."""
    used: dict[str, set[int]] = {}
    columns = (pairs.column(name).to_pylist() for name in ("prompt_id", "chosen", "rejected"))
    for identity, chosen, rejected in zip(*columns, strict=True):
        used.setdefault(identity, set()).update((chosen, rejected))
    return used


class _Group:
    """The candidates and pairs of one prompt while they are gathered."""

    def __init__(self, prompt: str) -> None:
        self.prompt = prompt
        self.latents: dict[tuple[int | None, bytes], Latent | None] = {}
        """By number and content: the number alone may repeat in a user's own pairs."""
        self.scores: dict[tuple[int | None, bytes], float | None] = {}
        """By the same keys, in the same order."""
        self.pairs: list[tuple[int, int]] = []
        self.weights: list[float] = []

    def position(self, row: Mapping[str, Any], side: str) -> int:
        """Return where the candidate stands among the latents, adding it if it is new."""
        z, features = row[f"{side}_z"], row.get(f"{side}_features")
        latent: Latent | None = None
        if z or features:
            latent = np.asarray(z, np.int32) if z else np.asarray(features, np.float32)
        key = (row[side], b"" if latent is None else latent.tobytes())
        self.latents.setdefault(key, latent)
        if self.scores.get(key) is None:
            self.scores[key] = row[f"{side}_score"]
        return list(self.latents).index(key)

    def all_latents(self, identity: str, stored: Stored | None) -> Sequence[Latent]:
        """Return the candidates' own representations, or the stored ones where they have none."""
        own = [latent for latent in self.latents.values() if latent is not None]
        numbers = [number for number, _ in self.latents if number is not None]
        if len(own) == len(self.latents):
            return tuple(own)
        if own or stored is None or len(numbers) < len(self.latents):
            raise DataError(
                f"The pairs of prompt {self.prompt!r} have neither chosen_z and rejected_z (image tokens) "
                "nor chosen_features and rejected_features, and no features of their candidates are stored."
            )
        return stored(identity, numbers)
