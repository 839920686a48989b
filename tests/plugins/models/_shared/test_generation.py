"""Promises of writing and sampling: the stated distribution, each row by itself, and nothing after its end."""

from __future__ import annotations

import pytest
import torch
from silmm_plugins.models._shared.generation import first_words, pick, truncate, write
from silmm_plugins.models._shared.sequences import Decoding
from silmm_plugins.models.tiny.vocabulary import Vocabulary
from silmm_plugins.models.tiny_discrete.language_model import TinyDiscreteLM

from silmm.contracts.models import SamplingParams

ROWS = [[1, 6, 20, 21, 7], [1, 6, 22, 7], [1, 6, 20, 23, 24, 25, 7]]
TEMPERATURES = [1.0, 0.0, 0.5]


@pytest.fixture(scope="module")
def model() -> TinyDiscreteLM:
    """A small language model with random weights, sharpened so that choices matter."""
    torch.manual_seed(0)
    words = ["yes", "no", *(f"w{n}" for n in range(20))]
    model = TinyDiscreteLM(Vocabulary(words, 16), hidden=32, layers=2, heads=2, mlp=48, codes=20)
    with torch.no_grad():
        model.backbone.get_input_embeddings().weight *= 20
    return model.eval().requires_grad_(False)


def texts(model: TinyDiscreteLM, rows: list[int], limits: list[int], stop: int = 2) -> list[list[int]]:
    """Continue some of the rows, each with its own seed and temperature."""
    prompts, temperatures = [ROWS[row] for row in rows], [TEMPERATURES[row] for row in rows]
    return write(model, prompts, rows, temperatures, limits, stop=stop)


def test_a_row_is_written_by_itself(model: TinyDiscreteLM) -> None:
    """Neither the other rows nor their limits change a row, and a limit cuts what would follow."""
    together = texts(model, [0, 1, 2], [4, 9, 20])
    assert [len(row) for row in together] == [4, 9, 20]
    for row, limit in enumerate([4, 9, 20]):
        assert texts(model, [row], [20])[0][:limit] == together[row]


def test_the_stop_token_ends_a_row_and_is_left_out(model: TinyDiscreteLM) -> None:
    """A row whose text would hold the token ends before it; the others go on."""
    free = texts(model, [0, 1, 2], [12, 12, 12])
    stop = free[0][5]
    stopped = texts(model, [0, 1, 2], [12, 12, 12], stop=stop)
    for row, expected in zip(stopped, free, strict=True):
        assert row == (expected[: expected.index(stop)] if stop in expected else expected)


def test_what_is_written_are_the_models_likeliest_tokens(model: TinyDiscreteLM) -> None:
    """Greedy text is that of whole forward passes without a cache."""
    (text,) = texts(model, [1], [6])
    for step, token in enumerate(text):
        logits, _ = model.text_logits([ROWS[1][:-1]], [[*text[:step], 0]])
        assert int(logits[0, step].argmax()) == token


def test_selected_sequences_go_on_as_they_were(model: TinyDiscreteLM) -> None:
    """Repeating and dropping rows keeps each one's state, in a cache that grows."""
    whole, part = Decoding(model, ROWS), Decoding(model, ROWS)
    part.select([2, 0, 2])
    tokens = torch.tensor([21, 22, 23])
    whole.step(model.embed(tokens))
    part.step(model.embed(tokens[[2, 0, 2]]))
    torch.testing.assert_close(part.states, whole.states[[2, 0, 2]], atol=1e-5, rtol=1e-5)


def test_a_cache_of_fixed_length_gives_the_same_states(model: TinyDiscreteLM) -> None:
    """Room that is kept free for later tokens changes nothing."""
    growing, fixed = Decoding(model, ROWS), Decoding(model, ROWS, room=3)
    for _ in range(3):
        torch.testing.assert_close(fixed.states, growing.states, atol=1e-5, rtol=1e-5)
        for decoding in (growing, fixed):
            decoding.step(model.embed(torch.tensor([21, 22, 23])))


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [(" a  b\nc d", 3, "a  b\nc"), ("a b", 3, "a b"), ("", 2, ""), (" \n", 2, ""), ("a b c", 0, "")],
)
def test_a_text_is_cut_behind_its_words(text: str, count: int, expected: str) -> None:
    """Spaces and lines between the words stay, those around them go."""
    assert first_words(text, count) == expected


def test_nucleus_keeps_the_smallest_set_that_reaches_top_p():
    """Tokens outside the nucleus have no mass; top_k cuts by rank; the defaults cut nothing."""
    p = torch.tensor([[0.5, 0.1, 0.3, 0.1]])
    assert truncate(p, SamplingParams(top_p=0.7)).tolist() == [[0.5, 0, pytest.approx(0.3), 0]]
    assert truncate(p, SamplingParams(top_p=0.5)).tolist() == [[0.5, 0, 0, 0]]
    assert (truncate(p, SamplingParams(top_k=1)) > 0).tolist() == [[True, False, False, False]]
    assert torch.equal(truncate(p, SamplingParams()), p)


def test_inverse_sampling_follows_the_distribution():
    """Evenly spread numbers give each token its own share, also at another temperature."""
    logits = torch.tensor([0.5, 0.2, 0.3]).log().expand(1000, -1)
    uniform = (torch.arange(1000) + 0.5) / 1000
    shares = pick(logits, uniform, SamplingParams()).bincount(minlength=3) / 1000
    assert shares.tolist() == pytest.approx([0.5, 0.2, 0.3], abs=2e-3)
    cold = pick(logits, uniform, SamplingParams(temperature=0.5)).bincount(minlength=3) / 1000
    assert cold.tolist() == pytest.approx([0.25 / 0.38, 0.04 / 0.38, 0.09 / 0.38], abs=2e-3)
    assert pick(logits, uniform, SamplingParams(temperature=0)).unique().tolist() == [0]
