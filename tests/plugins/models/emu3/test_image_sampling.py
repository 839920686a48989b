"""Sampling, likelihoods and answers against the stock classes, and what changes memory but no number."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from silmm_plugins.models.emu3 import grammar
from silmm_plugins.models.emu3.image_sampling import Canvas, sample
from silmm_plugins.models.emu3.model import Emu3
from transformers import Emu3ForConditionalGeneration

from silmm.contracts.models import ChatRequest, SamplingParams
from silmm.errors import DataError
from silmm.lora.adapters import new_adapter, trainable_parameters
from tests.plugins.models.emu3.loading import tiny

PROMPTS = ["a cat", "a red cube on the left of a blue cat", "the cat"]


@pytest.fixture(scope="module")
def model(written: Path) -> Emu3:
    """Random weights in the -hf layout."""
    return tiny(written)


@pytest.fixture(scope="module")
def stock(written: Path) -> Any:
    """The same weights in the class of transformers."""
    return Emu3ForConditionalGeneration.from_pretrained(str(written / "Emu3-Gen-hf")).eval()


def canvases(model: Emu3, shapes: list[tuple[int, int]]) -> list[Canvas]:
    """Return a canvas of each shape, one for each prompt."""
    return [
        Canvas(model.image_ids(prompt, shape), model.image_ids("blurry", shape), shape, seed)
        for seed, (prompt, shape) in enumerate(zip(PROMPTS, shapes, strict=True))
    ]


def test_guided_sampling_is_that_of_transformers(model: Emu3, stock: Any) -> None:
    """The likeliest codes under guidance are those of `generate` with the same grammar as a constraint."""
    shape = (3, 5)
    (canvas, *_) = canvases(model, [shape] * 3)
    tokens = model.tokenizer.tokens
    forced = grammar.body(tokens, np.zeros(shape, dtype=np.int32)) + grammar.closing(tokens)
    visual = list(range(tokens.visual, tokens.visual + tokens.codes))

    def allowed(_: int, ids: torch.Tensor) -> list[int]:
        at = forced[len(ids) - len(canvas.prefix)]
        return visual if at == tokens.visual else [at]

    ids = torch.tensor([canvas.prefix])
    out = stock.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        negative_prompt_ids=torch.tensor([canvas.negative]),
        negative_prompt_attention_mask=torch.ones(1, len(canvas.negative), dtype=torch.long),
        guidance_scale=3.0,
        prefix_allowed_tokens_fn=allowed,
        do_sample=False,
        max_new_tokens=len(forced),
    )
    (ours,) = sample(model.policy, [canvas], SamplingParams(temperature=0.0), guidance=3.0)
    expected = out[0, len(canvas.prefix) :].tolist()
    assert [*grammar.body(tokens, ours), *grammar.closing(tokens)] == expected
    assert len(set(ours.reshape(-1).tolist())) > 1


def test_images_are_those_of_transformers(model: Emu3, stock: Any) -> None:
    """Codes become the pixels that the stock class makes of the same tokens."""
    codes = np.arange(12, dtype=np.int32).reshape(4, 3)
    tokens = model.tokenizer.tokens
    ids = torch.tensor([[*grammar.body(tokens, codes), *grammar.closing(tokens), tokens.eos]])
    theirs = stock.decode_image_tokens(image_tokens=ids, height=4, width=3)[0]
    torch.testing.assert_close(model.vision.decode_pixels(codes), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sampling", [SamplingParams(), SamplingParams(0.8, 0.9, 10)], ids=str)
def test_guided_candidates_do_not_depend_on_their_batch(model: Emu3, sampling: SamplingParams) -> None:
    """Images of unequal size in one guided batch are those that each gives alone."""
    wanted = canvases(model, [(4, 4), (2, 6), (3, 3)])
    together = sample(model.policy, wanted, sampling, guidance=3.0)
    for canvas, sampled in zip(wanted, together, strict=True):
        (alone,) = sample(model.policy, [canvas], sampling, guidance=3.0)
        np.testing.assert_array_equal(sampled, alone)


def test_guidance_changes_the_sampling(model: Emu3) -> None:
    """Guidance 1 is sampling without it; 3 samples something else from the same numbers."""
    wanted = canvases(model, [(4, 4)] * 3)
    plain, guided = (sample(model.policy, wanted, SamplingParams(), guidance=g) for g in (1.0, 3.0))
    assert any((a != b).any() for a, b in zip(plain, guided, strict=True))


def test_answers_are_those_of_a_full_forward(model: Emu3) -> None:
    """Questions after a shared image have the logits of image and question run whole and alone."""
    codes = np.arange(12, dtype=np.int32).reshape(3, 4)
    asked = ["Is it a cat?", "Is there a red cube on the left of the cat?", "No?"]
    judge = model.judge
    with torch.no_grad():
        (logits,) = judge.image_prefix(codes).logits([[judge.question_ids(question) for question in asked]])
    for row, question in zip(logits, asked, strict=True):
        ids = [*judge.image_ids(codes), *judge.question_ids(question)]
        with torch.no_grad():
            whole = judge.model.backbone(torch.tensor([ids])).logits[0, -1]
        torch.testing.assert_close(row, whole, rtol=1e-5, atol=1e-5)


def test_an_image_is_read_once(model: Emu3, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many questions there are, the image's tokens go through the judge a single time."""
    read: list[int] = []
    text = model.judge.model.text
    forward = text.forward
    monkeypatch.setattr(
        text, "forward", lambda **inputs: (read.append(inputs["inputs_embeds"].shape[1]), forward(**inputs))[1]
    )
    image = np.zeros((32, 32, 3), dtype=np.uint8)
    assert len(model.yes_no([image], [["Is it red?"] * 20])[0]) == 20
    length = len(model.judge.image_ids(model.vision.encode(image)))
    assert read == [length, 20 * len(model.judge.question_ids("Is it red?"))]


@pytest.mark.parametrize("chunk", [1, 5, 1000])
def test_chunks_of_the_head(written: Path, chunk: int) -> None:
    """The chunked head gives the values and gradients of the whole one."""
    codes = [np.arange(16, dtype=np.int32), np.arange(16, dtype=np.int32)[::-1].copy()]

    def value_and_gradients(one: Emu3) -> tuple[torch.Tensor, list[torch.Tensor]]:
        new_adapter(one, rank=2, alpha=2, seed=0)
        parameters = trainable_parameters(one)
        with torch.no_grad():
            for i, parameter in enumerate(parameters.values()):
                parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(i))
        value = one.log_likelihood(PROMPTS[:2], codes)
        return value.detach(), list(torch.autograd.grad(value.sum(), list(parameters.values())))

    found = value_and_gradients(tiny(written, head_chunk=chunk))
    expected = value_and_gradients(tiny(written, head_chunk=10**6))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "z", [np.arange(9, dtype=np.int32), np.full(16, 32, dtype=np.int32)], ids=["shape", "range"]
)
def test_foreign_representations(model: Emu3, z: Any) -> None:
    """Codes of another image size, or beyond the codebook, are refused by what and where."""
    with pytest.raises(DataError, match=r"image tokens of (image 0|prompt 'a cat')"):
        model.decode([z], [0])
    with pytest.raises(DataError, match="image tokens of prompt 'a cat'"):
        model.log_likelihood(["a cat"], [z])


def test_prompts_that_are_too_long(model: Emu3) -> None:
    """A prompt that leaves no room for the image is not read, and sampling it is an error."""
    assert model.reads("a cat")
    long = "zebra " * 90
    assert not model.reads(long)
    with pytest.raises(DataError, match="leaves room for"):
        model.represent([long], [0], SamplingParams())


def test_chat_is_text(model: Emu3) -> None:
    """However warm, answers hold text alone and no more words than asked for."""
    requests = [
        ChatRequest("list", "colors", "Name colors.", temperature=2.0, seed=seed, max_words=5)
        for seed in range(6)
    ]
    answers = model.chat(requests)
    assert len(set(answers)) > 1
    assert all(len(answer.split()) <= 5 and "<|" not in answer for answer in answers)
    mixed = [*requests[:2], replace(requests[2], max_words=40)]
    assert model.chat(mixed)[:2] == answers[:2]
    with pytest.raises(DataError, match="the request 'zebra zebra"):
        model.chat([ChatRequest("list", "zebra " * 200, "Name colors.")])
