"""Seeds by content: a candidate's own seed decides it; the process's random state has no part in it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from silmm.contracts.models import BaseModel
from silmm.testing.cases import Cases, Nonconformance, compare, sampled

_TRIES = 8
"""Seeds among which at least two have to sample differently."""


def check_represent_by_seed(model: BaseModel, cases: Cases) -> None:
    """Check that a seed samples the same z each time, and that seeds sample differently (discrete models).

    A continuous model gives its H for every seed and every `sampling`.
    """
    prompt = cases.prompts[-1]
    seeds = [seed for seed in range(_TRIES // 2) for _ in (0, 1)]
    with own_randomness("represent"):
        first = model.represent([prompt] * len(seeds), seeds, cases.sampling)
    with other_randomness():
        again = model.represent([prompt] * len(seeds), seeds, cases.sampling)
    tolerance = 0.0 if model.kind == "discrete" else cases.tolerance
    for row in range(0, len(seeds), 2):
        compare(first[row + 1], first[row], tolerance, f"represent: seed {seeds[row]} samples the same z twice")
        compare(again[row], first[row], tolerance, "represent: the process's random state decides nothing")
    distinct = {z.tobytes() for z in first[::2]}
    if model.kind == "discrete" and len(distinct) < 2:
        raise Nonconformance(f"represent: {len(seeds) // 2} seeds sampled one and the same z of {prompt!r}")
    if model.kind == "continuous":
        for z in first[1:]:
            compare(z, first[0], tolerance, "represent: a continuous model gives the same H for every seed")


def check_decode_by_seed(model: BaseModel, cases: Cases) -> None:
    """Check that z and seed decide the image, to the last bit."""
    latents = sampled(model, cases)
    with own_randomness("decode"):
        first = model.decode(latents, cases.seeds)
    with other_randomness():
        again = model.decode(latents, cases.seeds)
    for prompt, image, other in zip(cases.prompts, first, again, strict=True):
        compare(other, image, 0.0, f"decode: one z and one seed of {prompt!r} give one image")


def check_chat_by_seed(model: BaseModel, cases: Cases) -> None:
    """Check that a request and its seed decide the text, at temperature 1 too."""
    requests = cases.requests(temperature=1.0)
    with own_randomness("chat"):
        first = model.chat(requests)
    with other_randomness():
        again = model.chat(requests)
    for request, reply, other in zip(requests, first, again, strict=True):
        if reply != other:
            raise Nonconformance(
                f"chat: {request.input!r} with seed {request.seed} was answered {reply!r} and then {other!r}"
            )


@contextmanager
def own_randomness(what: str) -> Iterator[None]:
    """Check that the body leaves Python's, numpy's and torch's random states as they were."""
    before = _states()
    yield
    for name, state in _states().items():
        if state != before[name]:
            raise Nonconformance(
                f"{what} moved the random state of {name}; sample from a generator of the candidate's own seed"
            )


@contextmanager
def other_randomness(seed: int = 1) -> Iterator[None]:
    """Run the body with other random states, and put the old ones back."""
    python, legacy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)


def _states() -> dict[str, object]:
    legacy = np.random.get_state(legacy=True)
    states: dict[str, object] = {
        "random": random.getstate(),
        "numpy": (legacy[1].tobytes(), *legacy[2:]) if isinstance(legacy, tuple) else repr(legacy),
        "torch": torch.get_rng_state().numpy().tobytes(),
    }
    for number in range(torch.cuda.device_count()):
        states[f"torch on cuda:{number}"] = torch.cuda.get_rng_state(number).cpu().numpy().tobytes()
    return states
