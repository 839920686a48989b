"""The chat tasks of `tiny-continuous`: those of `tiny-discrete`, and rewriting prompts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from silmm_benchmarks.shapes.holdout import is_held_out
from silmm_benchmarks.shapes.language import (
    CATEGORIES,
    Mention,
    Spec,
    caption,
    infer_category,
    template_count,
)
from silmm_benchmarks.shapes.splits import training_spec
from silmm_benchmarks.shapes.world import COLORS

from training.tiny_discrete.text_tasks import TextTask

_INVERSE = {
    "left": "right", "right": "left", "above": "below", "below": "above",
    "in front of": "behind", "behind": "in front of", "touching": "touching",
}  # fmt: skip
_REWRITES = 0.4
"""Share of the texts that are rewritten prompts."""


def rephrased(rng: np.random.Generator, spec: Spec) -> Spec:
    """Return a spec of the same meaning: the mentions in another order, with the inverse relation."""
    mentions = list(spec.mentions)
    if not spec.relations:
        order = rng.permutation(len(mentions))
        return replace(spec, mentions=tuple(mentions[i] for i in order))
    ((_, name, _),) = spec.relations
    if name not in _INVERSE or rng.random() < 0.3:
        return spec
    first, second, *rest = mentions
    return replace(spec, mentions=(second, first, *rest), relations=((0, _INVERSE[name], 1),))


def explained(rng: np.random.Generator, spec: Spec) -> Spec:
    """Return a spec that says more: colours, and some textures, where they were open."""
    taken = {m.color for m in spec.mentions if m.color}
    mentions: list[Mention] = []
    for mention in spec.mentions:
        color = mention.color
        if color is None:
            free = [c for c in COLORS if c not in taken]
            color = free[int(rng.integers(len(free)))]
            taken.add(color)
        texture = mention.texture
        # Captions name "plain" with other textures alone, and numbers without any texture (language.py).
        if texture is None and spec.category != "numeracy" and mention.color and rng.random() < 0.5:
            texture = ("striped", "dotted")[int(rng.integers(2))]
        mentions.append(replace(mention, color=color, texture=texture))
    detailed = Spec("", tuple(mentions), spec.relations)
    return replace(detailed, category=infer_category(detailed, spec.category == "numeracy"))


class RewritingTask(TextTask):
    """Samples (request, answer) pairs of all chat tasks of the model."""

    def texts(self, rng: np.random.Generator) -> tuple[str, str, str]:
        """Sample (task, input, answer)."""
        if rng.random() >= _REWRITES:
            return super().texts(rng)
        while True:
            spec = training_spec(rng, CATEGORIES[int(rng.integers(len(CATEGORIES)))])
            template = int(rng.integers(template_count(spec.category)))
            text = caption(spec, template)
            if rng.random() < 0.5:
                return "rephrase", text, caption(rephrased(rng, spec), template + 1)
            more = explained(rng, spec)
            answer = caption(more, rng)
            if not is_held_out(more) and len(self.vocabulary.encode(answer)) <= 30:
                return "explain", text, answer
