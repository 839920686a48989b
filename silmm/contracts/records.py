"""The tables that pass between stages, and the result of an evaluation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""An encoded PNG in the column layout that `datasets` shows as an image."""
FEATURES = pa.list_(pa.list_(pa.float32()))
"""H of a continuous model, L rows of D numbers."""

PROMPTS = pa.schema([
    ("prompt_id", pa.string()), ("prompt", pa.string()), ("category", pa.string()),
])
CANDIDATES = pa.schema([
    ("prompt_id", pa.string()), ("candidate", pa.int32()), ("seed", pa.int64()),
    ("meta", pa.string()),                  # the sampler's provenance, a JSON object, or null
    ("z", pa.list_(pa.int32())),            # image tokens of a discrete model, else null
    ("shape", pa.list_(pa.int32())),        # shape of z, or of H, which is not kept but sampled again
    ("latent_id", pa.string()),             # where z is null: content id of H, equal for equal features
    ("image", IMAGE),                       # under the first noise of the decoder
    ("further_images", pa.list_(IMAGE)),    # under further noises (setting `decodes_per_candidate`); they count alike
])
QUESTIONS = pa.schema([
    ("prompt_id", pa.string()), ("index", pa.int32()),
    ("statement", pa.string()), ("question", pa.string()),
])
ANSWERS = pa.schema([
    ("prompt_id", pa.string()), ("candidate", pa.int32()),
    ("decode", pa.int32()),                 # 0: about `image`; 1, 2, …: about the further images
    ("index", pa.int32()),
    ("p_yes", pa.float64()), ("p_no", pa.float64()),
])
SCORES = pa.schema([
    ("prompt_id", pa.string()), ("candidate", pa.int32()),
    ("score", pa.float64()),                # null where status is not "ok"
    ("status", pa.string()),                # "ok", "no-questions", "non-finite" or "no-score"
])
PAIRS = pa.schema([
    ("prompt_id", pa.string()), ("prompt", pa.string()),
    ("chosen", pa.int32()), ("rejected", pa.int32()),              # candidate numbers
    ("weight", pa.float64()),                                      # in the loss, above 0; null counts as 1
    ("chosen_score", pa.float64()), ("rejected_score", pa.float64()),
    ("chosen_z", pa.list_(pa.int32())), ("rejected_z", pa.list_(pa.int32())),
    ("chosen_features", FEATURES), ("rejected_features", FEATURES),  # of a user's own pairs only
])


def prompt_id(prompt: str) -> str:
    """Return the 16-digit content id of a prompt: the start of the SHA-256 of its UTF-8 text."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Difference:
    """A mean before and after with the paired bootstrap interval of the difference."""

    before: float
    after: float
    diff: float
    ci_low: float
    ci_high: float
    n: int
    """Number of prompts (the clusters of the bootstrap)."""


@dataclass(frozen=True)
class EvalResult:
    """What a benchmark says of a run: the headline, its parts and whatever else belongs beside it."""

    benchmark: str
    metric: str
    protocol: Mapping[str, object]
    """The protocol card: prompts hash, images per prompt, seed rule, sampling settings, judge."""
    overall: Difference
    categories: Mapping[str, Difference]
    secondary: Mapping[str, Difference] = field(default_factory=dict)
    """Further before/after pairs, e.g. temperature 1, all facts correct, VQA accuracy."""
    iterations: Mapping[str, Difference] = field(default_factory=dict)
    """Overall for each adapter in turn ("1", "2", …) against the base."""
    secondary_by_iteration: Mapping[str, Mapping[str, Difference]] = field(default_factory=dict)
    """Measures of `secondary` that were taken of each adapter: name -> adapter -> against the base."""
    extra: Mapping[str, float] = field(default_factory=dict)
    """Single figures, e.g. the AUC of the self-feedback against the judge."""
    partial: bool = False
    """True for a `--limit` run: kept off leaderboards."""
