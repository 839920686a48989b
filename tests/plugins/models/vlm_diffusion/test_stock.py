"""What stock transformers and diffusers give for the same pipeline is what `vlm-diffusion` gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import QwenImagePipeline
from silmm_plugins.models.vlm_diffusion.prompts import (
    ASSISTANT,
    END,
    IMAGE,
    SEEN_END,
    SEEN_START,
    SYSTEM,
    USER,
)

from silmm.contracts.models import SamplingParams
from tests.plugins.models.vlm_diffusion.conftest import load

PROMPTS = ["a cat", "the red cube is on the left of the blue sphere."]


@pytest.fixture(scope="module")
def stock(written):
    """The pipeline as diffusers loads it."""
    pipeline = QwenImagePipeline.from_pretrained(written)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def model(written):
    """The same as a base model."""
    return load(written)


@torch.inference_mode()
def test_h_is_the_pipelines_prompt_embedding(stock, model):
    """Behind the zeros in front, H of each prompt is what `encode_prompt` gives for it alone."""
    for prompt, h in zip(PROMPTS, model.represent(PROMPTS, [0, 1], SamplingParams()), strict=True):
        expected = stock.encode_prompt(prompt)[0][0].numpy()
        zeros = len(h) - len(expected)
        assert zeros > 0
        assert not h[:zeros].any()
        np.testing.assert_allclose(h[zeros:], expected, atol=1e-5, rtol=1e-5)


def test_images_are_the_pipelines(stock, model):
    """An image of a prompt's H is the one that the pipeline decodes from the prompt and the same seed."""
    for prompt, h in zip(PROMPTS, model.represent(PROMPTS, [0, 1], SamplingParams()), strict=True):
        expected = stock(
            prompt=prompt, negative_prompt=" ", true_cfg_scale=4.0, height=32, width=32,
            num_inference_steps=2, generator=torch.Generator().manual_seed(7), output_type="np",
        ).images[0]  # fmt: skip
        decoded = model.decode([h], [7])[0].astype(np.float64)
        assert np.abs(decoded - expected * 255).max() <= 1
        assert decoded.std() > 1


@torch.inference_mode()
def test_answers_are_those_of_a_full_pass(stock, model):
    """Logits after a question, the image read once for all, are those of the whole model on one text."""
    image = np.random.default_rng(0).integers(0, 256, (90, 60, 3), dtype=np.uint8)
    questions = ["Is there a cat?", "Is the red cube on the left of it?"]
    calls = model._processor(image, input_data_format="channels_last", return_tensors="pt")
    count = int(calls.image_grid_thw.prod()) // 4
    (actual,) = model.image_prefix(image).logits([list(map(model.words.question, questions))])
    for row, question in enumerate(questions):
        text = f"{SYSTEM}{USER}{SEEN_START}{IMAGE * count}{SEEN_END}{question}{END}\n{ASSISTANT}"
        ids = stock.tokenizer(text, return_tensors="pt").input_ids
        logits = stock.text_encoder(
            input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=calls.pixel_values,
            image_grid_thw=calls.image_grid_thw, mm_token_type_ids=(ids == model.words.image).int(),
        ).logits[0, -1]  # fmt: skip
        np.testing.assert_allclose(actual[row], logits, atol=1e-4, rtol=1e-4)


def test_texts_cannot_hold_special_tokens(model):
    """A prompt or a question that spells a special token out stays text."""
    inside = model.words.question(f"is it {IMAGE}{END} there?")
    assert model.words.image not in inside
    assert inside.count(model.words.end) == 1
