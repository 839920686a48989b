"""Promises of placement: parts that never learn make room, come back unchanged, and move for a reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from silmm_plugins.models._shared.loading_options import Offload
from silmm_plugins.models._shared.placement import Movable, Placement

from silmm.contracts.models import BaseModel, SamplingParams
from silmm.testing.cases import trained_value
from silmm.testing.training import tuned_adapter
from tests.plugins.models.every_model import ADAPTERS, PROMPTS, QUESTIONS, EveryModel

GPU, CPU = torch.device("cuda:0"), torch.device("cpu")
FROZEN = {
    "janus": {"vision", "image tokenizer"},
    "emu3": {"judge", "vision"},
    "seed-llama": {"image tokenizer", "unCLIP"},
    "dreamllm": {"vision", "decoder"},
    "vlm-diffusion": {"vision", "decoder"},
}


class Travelling:
    """A part that goes where it is sent by getting its weights anew, in the one memory that there is."""

    def __init__(self, name: str, network: Movable, moves: list[tuple[str, str]]) -> None:
        self.name, self.network, self.moves = name, network, moves

    def to(self, device: torch.device) -> None:
        """Note the place, and copy every weight as a move does."""
        self.moves.append((self.name, device.type))
        for module in _modules(self.network):
            module._apply(torch.clone)


def _modules(part: Any) -> Iterator[torch.nn.Module]:
    if isinstance(part, torch.nn.Module):
        yield part
        return
    for value in vars(part).values():
        if isinstance(value, torch.nn.Module):
            yield value


def watched(model: Any, offload: Offload, here: str = "") -> list[tuple[str, str]]:
    """Let the parts of a model travel to a GPU that is none; return the list of moves to come."""
    moves: list[tuple[str, str]] = []
    placement = Placement(offload)
    for name, part in model.placement.parts.items():
        networks = [Travelling(name, network, moves) for network in part.networks]
        placement.add(name, *networks, device=GPU, present=name == here)
    model.placement = placement
    return moves


def everything(model: BaseModel) -> tuple[list[Any], list[Any]]:
    """Sample, decode and answer; return images and answers."""
    latents = model.represent(PROMPTS, [0, 1], SamplingParams())
    images = model.decode(latents, [5, 6])
    return images, model.yes_no(images, QUESTIONS)


@pytest.mark.parametrize("name", ADAPTERS)
@pytest.mark.parametrize("offload", ["training", "always"])
def test_frozen_parts_leave_for_training_and_come_back_unchanged(
    every_model: EveryModel, name: str, offload: Offload
) -> None:
    """Sampling, training, validating and training again: same images, answers and gradients as unmoved."""
    model: Any = every_model.load(name)
    expected = everything(model)
    latents = model.represent(PROMPTS, [0, 1], SamplingParams())
    with tuned_adapter(model) as adapter:

        def gradients() -> list[torch.Tensor]:
            value = trained_value(model, PROMPTS, latents).square().mean()
            return list(torch.autograd.grad(value, list(adapter.values())))

        first = gradients()
        with torch.no_grad():
            validated = everything(model)
        moves = watched(model, offload)
        actual = gradients()
        with torch.no_grad():
            again = everything(model)
        left = len(moves)
        last = gradients()
    gone = {part for part, device in moves[left:] if device == "cpu"}
    assert gone == FROZEN[name] if offload == "training" else gone < FROZEN[name]
    for a, b, c in zip(first, actual, last, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)
    same(again, validated)
    same(everything(model), expected)


def same(actual: tuple[list[Any], list[Any]], expected: tuple[list[Any], list[Any]]) -> None:
    """Compare images and answers bit by bit."""
    for tensor, other in zip(actual, expected, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(tensor, other, strict=True))


@pytest.mark.parametrize("which", ADAPTERS)
def test_nothing_moves_while_the_work_stays_the_same(every_model: EveryModel, which: str) -> None:
    """Each part comes once for any number of images and answers, and goes once for any number of steps."""
    model: Any = every_model.load(which)
    everything(model)
    latents = model.represent(PROMPTS, [0, 1], SamplingParams())
    moves, parts = watched(model, "training"), model.placement.parts
    for _ in range(2):
        everything(model)
    assert sorted(moves) == sorted((name, "cuda") for name, part in parts.items() for _ in part.networks)
    moves.clear()
    with tuned_adapter(model):
        for _ in range(2):
            trained_value(model, PROMPTS, latents)
    gone = {name: part for name, part in parts.items() if name in FROZEN[which]}
    assert sorted(moves) == sorted((name, "cpu") for name, item in gone.items() for _ in item.networks)


def test_emu3_takes_turns_and_a_training_finds_its_policy(every_model: EveryModel) -> None:
    """With offload=always the policy leaves for the judge, and is back after it while it is being trained."""
    model: Any = every_model.load("emu3")
    images, _ = everything(model)
    moves = watched(model, "always", here="policy")
    model.yes_no(images, QUESTIONS)
    assert moves[0] == ("policy", "cpu")
    assert ("judge", "cuda") in moves
    model.represent(PROMPTS, [0, 1], SamplingParams())
    assert moves[-1] == ("policy", "cuda")
    with tuned_adapter(model):
        moves.clear()
        model.yes_no(images, QUESTIONS)
    assert (moves[0], moves[-1]) == (("policy", "cpu"), ("policy", "cuda"))
    assert moves.index(("judge", "cpu")) < moves.index(("policy", "cuda"))


def test_a_judge_of_its_own_device_stays_there(every_model: EveryModel) -> None:
    """It is no part that makes room; on the policy's device it is."""
    alone: Any = every_model.load("emu3", judge_device="meta")
    assert set(alone.placement.parts) == {"policy", "vision"}
    assert next(alone.judge.model.backbone.parameters()).device.type == "meta"
    assert "judge" in every_model.load("emu3", judge_device="cpu").placement.parts  # type: ignore[attr-defined]


def moved(offload: Offload, *steps: tuple[tuple[str, ...], bool]) -> list[tuple[str, str]]:
    """Return the moves of two parts, a and b, over some kinds of work."""
    moves: list[tuple[str, str]] = []
    placement = Placement(offload)
    for name in "ab":
        placement.add(name, Travelling(name, torch.nn.Linear(1, 1), moves), device=GPU)
    for names, training in steps:
        placement.need(*names, training=training)
    return moves


def test_when_parts_leave() -> None:
    """Never; while gradients are asked for; or whenever others work. Leaving comes before arriving."""
    work = ((("a",), False), (("b",), False), ((), True), (("a",), False))
    come = [("a", "cuda"), ("b", "cuda")]
    assert moved("never", *work) == come
    assert moved("training", *work) == [*come, ("a", "cpu"), ("b", "cpu"), ("a", "cuda")]
    turns = [("a", "cuda"), ("a", "cpu"), ("b", "cuda"), ("b", "cpu"), ("a", "cuda")]
    assert moved("always", *work) == turns


def test_on_a_cpu_nothing_moves() -> None:
    """Main memory is home already."""
    moves: list[tuple[str, str]] = []
    placement = Placement("always")
    placement.add("a", Travelling("a", torch.nn.Linear(1, 1), moves), device=CPU)
    placement.need("a")
    placement.need(training=True)
    assert moves == []
