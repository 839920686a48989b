"""The protocol card: everything that a benchmark's number depends on, except the model, hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from silmm.contracts.benchmarks import Item
from silmm.contracts.options import canonical

UNKNOWN = "unknown"
_SAMPLING = (
    "steps", "guidance", "scheduler", "dtype", "sampling", "quality", "prompt_rewriting", "negative_prompt",
)


@dataclass(frozen=True)
class Card:
    """How images became numbers (`scoring`), and how they were sampled, as far as it is known (`sampling`).

    Results are ranked together only if all of `scoring` is equal; differences in `sampling` are reported.
    """

    benchmark: str
    mode: str
    repairs: tuple[str, ...]
    """What mode `fixed` repairs; empty in mode `official`."""
    data: Mapping[str, str]
    """SHA-256 of each official file."""
    categories: tuple[str, ...]
    """The chosen categories; empty for all."""
    prompts: int
    prompts_sha256: str
    """Over the ids and texts that were scored, in order."""
    images_per_prompt: tuple[int, ...]
    protocol: Mapping[str, Any]
    """The benchmark's own: split, aggregation, parser."""
    judges: Mapping[str, Mapping[str, str]]
    """Identity of the judge of each role; empty where a role was left out."""
    sampling: Mapping[str, Any]

    @property
    def scoring(self) -> dict[str, Any]:
        """All but the sampling, as JSON."""
        data = asdict(self)
        del data["sampling"]
        return data

    def as_json(self) -> dict[str, Any]:
        """Return both parts, each with its SHA-256, and that of the whole."""
        parts = {"scoring": self.scoring, "sampling": dict(self.sampling)}
        return {
            **parts,
            "scoring_sha256": _sha256(parts["scoring"]),
            "sampling_sha256": _sha256(parts["sampling"]),
            "sha256": _sha256(parts),
        }


def prompts_digest(items: Sequence[Item]) -> str:
    """Return the SHA-256 over the items' ids and prompts, in order."""
    return _sha256([[item.id, item.prompt] for item in items])


def sampling_of(
    record: Mapping[str, Any] | None, sizes: Collection[tuple[int, int]], seeds: str
) -> dict[str, Any]:
    """Return how images were sampled: their sizes, and what the generator's record holds.

    Args:
        record: the content of `generator.json`, None for images of unknown origin.
        sizes: width and height of the judged images.
        seeds: the benchmark's own rule, which a generator follows.
    """
    resolution = [f"{width}x{height}" for width, height in sorted(set(sizes))]
    if record is None:
        unknown = dict.fromkeys(("seed_rule", "model_options", *_SAMPLING), UNKNOWN)
        return {"resolution": resolution, **unknown}
    identity = record.get("identity", {})
    return {
        "resolution": resolution,
        "seed_rule": seeds,
        "model_options": identity.get("options", {}),
        **{name: identity.get(name, UNKNOWN) for name in _SAMPLING},
    }


def _sha256(data: Any) -> str:
    return hashlib.sha256(canonical(data).encode()).hexdigest()
