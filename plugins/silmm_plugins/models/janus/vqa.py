"""Answers of yes and no about images: each image is read once, all its questions follow in one row.

The questions of an image stand one after another behind the image's keys and values; each sees the image
and itself alone, and its rotary positions go on from the image's end, as if it were the only one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from silmm_plugins.models.janus.network import Network
from silmm_plugins.models.janus.prompts import Prompts

_QUESTIONS = 32
"""Questions of an image that go through the network at once."""


@torch.inference_mode()
def answer(
    network: Network, prompts: Prompts, pixels: Tensor, questions: Sequence[Sequence[str]]
) -> list[Tensor]:
    """Return p(yes), p(no), float64 (n_questions, 2), of each image's questions.

    Both are sums over the spellings that are one token, of the softmax over the whole vocabulary.

    Args:
        network: the network.
        prompts: the templates.
        pixels: (N, 3, side, side), as the vision tower takes them.
        questions: of each image.
    """
    answers: list[list[Tensor]] = [[torch.zeros(0, 2, dtype=torch.float64)] for _ in questions]
    cache, length = read_images(network, prompts, pixels)
    for first in range(0, max(map(len, questions), default=0), _QUESTIONS):
        part = slice(first, first + _QUESTIONS)
        asked = [[prompts.question(text) for text in group[part]] for group in questions]
        p = answer_logits(network, cache, length, asked).double().softmax(-1)
        both = torch.stack([p[:, prompts.yes].sum(-1), p[:, prompts.no].sum(-1)], -1).cpu()
        for row, rows in enumerate(torch.split(both, [len(group) for group in asked])):
            answers[row].append(rows)
    return [torch.cat(parts) for parts in answers]


def read_images(network: Network, prompts: Prompts, pixels: Tensor) -> tuple[Any, int]:
    """Return keys and values of the template's beginning and the images, and how many tokens these are."""
    head = network.embed(torch.tensor([prompts.before_image()], device=network.device))
    vectors = torch.cat([head.expand(len(pixels), -1, -1), network.look(pixels)], 1)
    length = vectors.shape[1]
    cache = DynamicCache(config=network.text_config)
    positions = torch.arange(length, device=network.device).expand(len(pixels), -1)
    network.hidden(vectors, None, positions, cache)
    return cache, length


def answer_logits(
    network: Network, cache: Any, length: int, questions: Sequence[Sequence[Sequence[int]]]
) -> Tensor:
    """Return the logits of the answers' first tokens, float32 (all questions, vocabulary).

    The cache is left as it was.

    Args:
        network: the network.
        cache: of the images, as :func:`read_images` returns it.
        length: of what the cache holds, in tokens.
        questions: token ids of each image's questions.
    """
    device = network.device
    longest = max(sum(map(len, group)) for group in questions)
    ids = torch.zeros(len(questions), longest, dtype=torch.long)
    owner = torch.full((len(questions), longest), -1)  # question of a token; padding is one of its own
    places = torch.zeros(len(questions), longest, dtype=torch.long)
    rows, ends = [], []
    for row, group in enumerate(questions):
        start = 0
        for number, question in enumerate(group):
            end = start + len(question)
            ids[row, start:end] = torch.tensor(question)
            owner[row, start:end] = number
            places[row, start:end] = torch.arange(len(question))
            rows.append(row)
            ends.append(end - 1)
            start = end
    owner = owner.to(device)
    within = torch.ones(longest, longest, dtype=torch.bool, device=device).tril()
    own = (owner[:, :, None] == owner[:, None, :]) & within
    mask = torch.cat([own.new_ones(len(questions), longest, length), own], -1)
    states = network.hidden(network.embed(ids.to(device)), mask[:, None], length + places.to(device), cache)
    cache.crop(-longest)
    return network.text_logits(states[rows, ends])
