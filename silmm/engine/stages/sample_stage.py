"""Step 2, sampling: CANDIDATES with their images, and features sampled again from the candidates' seeds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from silmm.contracts.candidates import Sampled
from silmm.contracts.components import Questioner, Sampler
from silmm.contracts.models import BaseModel, Latent
from silmm.contracts.records import CANDIDATES
from silmm.engine.stages.plugin_calls import REPORT, blaming, one_per_input
from silmm.engine.stages.seed_scope import SeedScope
from silmm.errors import PluginError
from silmm.storage.tables import encode_png, latent_columns


def sample_candidates(
    model: BaseModel,
    sampler: Sampler,
    prompts: pa.Table,
    images_per_prompt: int,
    scope: SeedScope,
    decodes: int = 1,
    who: str = "The sampler",
) -> tuple[pa.Table, dict[str, int]]:
    """Sample and decode `images_per_prompt` candidates of each prompt (PROMPTS -> CANDIDATES).

    All candidates of a prompt share the seeds of the decoder's noises: they differ by z alone. Each is
    decoded under `decodes` noises. What the sampler says that it dropped is counted.

    Raises:
        PluginError: the sampler, called `who`, failed or returned something else than it should.
    """
    earlier = dropped(sampler)
    units = [
        (row["prompt_id"], row["prompt"], candidate)
        for row in prompts.to_pylist()
        for candidate in range(images_per_prompt)
    ]
    texts = [prompt for _, prompt, _ in units]
    seeds = [scope.derive("sample", prompt, candidate) for _, prompt, candidate in units]
    sampled = _sampled(model, sampler, texts, seeds, who)
    latents = [item.latent for item in sampled]
    images = [_decoded(model, latents, texts, scope, decode) for decode in range(decodes)]
    rows = [
        {
            "prompt_id": identity, "candidate": candidate, "seed": seed, "meta": _meta(item, who),
            **latent_columns(item.latent), "image": image, "further_images": further,
        }
        for (identity, _, candidate), seed, item, image, *further in zip(
            units, seeds, sampled, *images, strict=True
        )
    ]
    return pa.Table.from_pylist(rows, schema=CANDIDATES), dict(dropped(sampler) - earlier)


def _sampled(
    model: BaseModel, sampler: Sampler, texts: Sequence[str], seeds: Sequence[int], who: str
) -> list[Sampled]:
    with blaming(who, f"it sampled {len(texts)} candidates"):
        results = sampler.sample(model, texts, seeds)
    sampled = [
        item if isinstance(item, Sampled) else Sampled(item) for item in one_per_input(results, texts, who)
    ]
    for item in sampled:
        if not isinstance(item.latent, np.ndarray):
            raise PluginError(f"{who} returned {type(item.latent).__name__} in place of an array. {REPORT}")
    return sampled


def _meta(item: Sampled, who: str) -> str | None:
    try:
        return json.dumps(dict(item.meta), sort_keys=True, allow_nan=False) if item.meta else None
    except (TypeError, ValueError) as error:
        raise PluginError(f"{who} returned a meta that is not JSON-able: {error}. {REPORT}") from error


def _decoded(
    model: BaseModel, latents: Sequence[Latent], texts: Sequence[str], scope: SeedScope, decode: int
) -> list[dict[str, bytes | None]]:
    noise = [scope.derive("decode", prompt, decode) for prompt in texts]
    return [encode_png(image) for image in one_per_input(model.decode(latents, noise), latents, "The decoder")]


def dropped(component: Sampler | Questioner) -> Counter[str]:
    """Return what a component says that it threw away so far, over all its calls."""
    return Counter(getattr(component, "dropped", {}))


def resample_features(
    model: BaseModel,
    sampler: Sampler,
    prompts: pa.Table,
    candidates: pa.Table,
    used: Mapping[str, Collection[int]] | None = None,
    who: str = "The sampler",
) -> dict[tuple[str, int], Latent]:
    """Sample H of candidates from their seeds once more, without decoding them.

    Args:
        model: carries the adapter that the candidates were sampled with.
        sampler: the one that sampled them, called `who`.
        prompts: PROMPTS of one shard.
        candidates: columns prompt_id, candidate, seed and shape of the same prompts.
        used: prompt_id -> numbers of the candidates that are asked for; None: all.

    Raises:
        PluginError: the sampler failed, or an H has another shape than the candidate had or is not finite.
    """
    texts = dict(zip(*(prompts.column(name).to_pylist() for name in ("prompt_id", "prompt")), strict=True))
    columns = ["prompt_id", "candidate", "seed", "shape"]
    rows: list[Mapping[str, Any]] = [
        row for row in candidates.select(columns).to_pylist()
        if used is None or row["candidate"] in used.get(row["prompt_id"], ())
    ]
    sampled = _sampled(
        model, sampler, [texts[row["prompt_id"]] for row in rows], [row["seed"] for row in rows], who
    )
    features: dict[tuple[str, int], Latent] = {}
    for row, item in zip(rows, sampled, strict=True):
        if list(item.latent.shape) != row["shape"] or not np.isfinite(item.latent).all():
            raise PluginError(
                f"Candidate {row['candidate']} of {texts[row['prompt_id']]!r} was sampled again as features "
                f"of shape {list(item.latent.shape)}, finite or not, in place of finite {row['shape']}: "
                f"{who[0].lower()}{who[1:]} or the model does not go by the seed alone. Report it to their plugins."
            )
        features[row["prompt_id"], row["candidate"]] = item.latent.astype(np.float32)
    return features
