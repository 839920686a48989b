"""Answers of yes and no: the image is read once, and no question knows of another."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from silmm.errors import DataError

ASKED = ["Is there a cat?", "Is the red cube on the left of the blue sphere? Answer yes or no.", "Why?"]


@pytest.fixture(scope="module")
def model(load, folder):
    """A random checkpoint."""
    return load(folder)


@pytest.fixture(scope="module")
def images():
    """Images of unequal size and aspect."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((16, 16, 3), (30, 48, 3), (40, 9, 3))]


def by_stock_classes(model, image, question):
    """Return p(yes), p(no) by one whole forward pass of the stock model."""
    words = model.prompts
    ids = torch.tensor([
        [*words.before_image(), *[words.image] * model.network.image_length, *words.question(question)]
    ])
    with torch.inference_mode():
        logits = model.backbone(input_ids=ids, pixel_values=model.processor.pixels([image])).logits[0, -1]
    p = logits.double().softmax(-1)
    return [float(p[words.yes].sum()), float(p[words.no].sum())]


def test_answers_are_those_of_whole_forward_passes(model, images):
    """Each answer of a mixed batch equals one full forward pass of the stock model for it alone."""
    answers = model.yes_no(images, [ASKED, ASKED[:1], ASKED[::-1]])
    for image, asked, rows in zip(images, [ASKED, ASKED[:1], ASKED[::-1]], answers, strict=True):
        for question, row in zip(asked, rows, strict=True):
            np.testing.assert_allclose(row, by_stock_classes(model, image, question), atol=1e-6)


def test_an_image_is_read_once(model, images, monkeypatch):
    """However many questions there are, the vision tower sees each image once."""
    seen = []
    real = type(model.network).encode_images
    monkeypatch.setattr(
        type(model.network), "encode_images", lambda self, pixels: seen.append(len(pixels)) or real(self, pixels)
    )
    model.yes_no(images, [ASKED * 30, ASKED, []])
    assert sum(seen) == len(images)


def test_many_questions_go_in_turns(model, images):
    """More questions than go through the network at once are answered as if each were alone."""
    many = [f"Is it number {i}?" for i in range(70)]
    rows = model.yes_no(images[:1], [many])[0]
    assert rows.shape == (70, 2)
    for place in (0, 31, 32, 69):
        np.testing.assert_allclose(rows[place], model.yes_no(images[:1], [[many[place]]])[0][0], atol=1e-6)


def test_no_questions_and_no_images(model, images):
    """Images without questions have empty answers; no images, none."""
    assert [rows.shape for rows in model.yes_no(images, [[], [], []])] == [(0, 2)] * 3
    assert model.yes_no([], []) == []


@pytest.mark.parametrize("image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32)])
def test_what_is_no_image_is_refused(model, image):
    """Grey or float images are refused by their number and shape."""
    with pytest.raises(DataError, match=r"image 0 is (uint8|float32) of the shape"):
        model.yes_no([image], [["Is it?"]])


def test_an_answer_has_at_most_its_words(model):
    """Text is cut behind the words that were asked for, and examples are turns of their own."""
    from silmm.contracts.models import ChatRequest

    texts = model.chat([
        ChatRequest("write", "a cat", "Write.", (("a", "b"),), temperature=1.0, seed=i, max_words=1 + i)
        for i in range(4)
    ])
    assert all(len(text.split()) <= 1 + i for i, text in enumerate(texts))
    one = model.prompts.chat(ChatRequest("write", "a cat", "Write."))
    two = model.prompts.chat(ChatRequest("write", "a cat", "Write.", (("a", "b"),)))
    assert one.count(model.prompts.eos) == 0
    assert two.count(model.prompts.eos) == 1
