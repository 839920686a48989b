"""Batch and padding invariance: a result depends on its own input alone (promise 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from silmm.contracts.models import BaseModel
from silmm.testing.cases import Cases, Nonconformance, array, compare, decoded_images, sampled

Compute = Callable[[Sequence[int]], Sequence[object]]
"""Results of the cases with these numbers, computed in one call, in this order."""


def check_represent_by_batch(model: BaseModel, cases: Cases) -> float:
    """Check that z of a prompt is the same alone and beside longer and shorter prompts.

    Tokens have to be equal, features within the tolerance.
    """
    seeds = cases.seeds

    def compute(rows: Sequence[int]) -> Sequence[object]:
        prompts = [cases.prompts[i] for i in rows]
        return model.represent(prompts, [seeds[i] for i in rows], cases.sampling)

    tolerance = 0.0 if model.kind == "discrete" else cases.tolerance
    return _compare("represent", compute, cases, tolerance)


@torch.no_grad()
def check_likelihood_by_batch(model: BaseModel, cases: Cases) -> float:
    """Check that log pi(z|x) of a sequence is the same alone and in a padded batch."""
    latents = sampled(model, cases)

    def compute(rows: Sequence[int]) -> Sequence[object]:
        values = model.log_likelihood([cases.prompts[i] for i in rows], [latents[i] for i in rows])
        return list(array(values))

    return _compare("log_likelihood", compute, cases, cases.tolerance)


@torch.no_grad()
def check_features_by_batch(model: BaseModel, cases: Cases) -> float:
    """Check that H of a prompt is the same alone and in a padded batch, and is what `represent` gives."""

    def compute(rows: Sequence[int]) -> Sequence[object]:
        return list(array(model.features([cases.prompts[i] for i in rows])))

    worst = _compare("features", compute, cases, cases.tolerance)
    together = compute(range(len(cases.prompts)))
    for own, sampled_features in zip(together, sampled(model, cases), strict=True):
        worst = max(worst, compare(sampled_features, own, cases.tolerance, "represent gives what features gives"))  # type: ignore[arg-type]
    return worst


def check_decode_by_batch(model: BaseModel, cases: Cases) -> float:
    """Check that an image is the same alone and among others, within a few levels of 255."""
    latents, seeds = sampled(model, cases), cases.seeds

    def compute(rows: Sequence[int]) -> Sequence[object]:
        images = model.decode([latents[i] for i in rows], [seeds[i] for i in rows])
        return [image.astype(np.float64) / 255 for image in images]

    return _compare("decode", compute, cases, cases.levels / 255 + 1e-9)


def check_answers_by_batch(model: BaseModel, cases: Cases) -> float:
    """Check that p(yes), p(no) are the same with other images and other questions beside them."""
    images = decoded_images(model, cases)

    def compute(rows: Sequence[int]) -> Sequence[object]:
        return model.yes_no([images[i] for i in rows], [cases.questions[i] for i in rows])

    worst = _compare("yes_no", compute, cases, cases.tolerance)
    for image, asked in zip(images, cases.questions, strict=True):
        together = model.yes_no([image], [asked])[0]
        for row, question in enumerate(asked):
            single = model.yes_no([image], [[question]])[0]
            promise = f"yes_no: the answer to {question!r} does not depend on the image's other questions"
            worst = max(worst, compare(together[row : row + 1], single, cases.tolerance, promise))
    return worst


def check_chat_by_batch(model: BaseModel, cases: Cases) -> None:
    """Check that greedy text is the same alone and among other requests."""
    requests = cases.requests()
    together = model.chat(requests)
    alone = [model.chat([request])[0] for request in requests]
    for request, reply, other in zip(requests, together, alone, strict=True):
        if reply != other:
            raise Nonconformance(
                f"chat: the answer to {request.input!r} does not depend on other requests: alone {other!r}, "
                f"together {reply!r}"
            )


def _compare(what: str, compute: Compute, cases: Cases, tolerance: float) -> float:
    count = len(cases.prompts)
    together, backwards = compute(range(count)), compute(range(count)[::-1])
    worst = 0.0
    for row in range(count):
        named = f"{what} of {cases.prompts[row]!r}"
        for how, other in (("alone", compute([row])[0]), ("in another order", backwards[count - 1 - row])):
            promise = f"{named} is the same {how} and in a batch"
            worst = max(worst, compare(together[row], other, tolerance, promise))  # type: ignore[arg-type]
    return worst
