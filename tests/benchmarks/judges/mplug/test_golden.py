"""Our mPLUG gives what the original gave on the recorded folder."""

import json

import numpy as np
import pytest
import torch
from silmm_benchmarks.judges.mplug.decoder import Decoding
from silmm_benchmarks.judges.mplug.inputs import pixels
from silmm_benchmarks.judges.mplug.judge import MPlugJudge

from silmm.bench.images import open_rgb
from silmm.contracts.judges import Question

FOLDER = "checkpoints/mplug"


def near(actual, expected):
    """Compare logits and states to abs <= 1e-5 + 1e-5 |x|."""
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def golden(goldens):
    """The recorded folder: pairs, tensors, images by name, and our judge on its weights."""
    folder = goldens / FOLDER
    pairs = json.loads((folder / "expected.json").read_text())["pairs"]
    images = {path.name: open_rgb(path) for path in (folder / "inputs").iterdir()}
    return pairs, np.load(folder / "expected.npz"), images, MPlugJudge(folder / "original")


def test_questions_become_the_recorded_tokens(golden):
    """Lower-cased, cut and padded to 25: ids and mask are equal."""
    pairs, _, _, judge = golden
    tokens, mask = judge.questions.encode([pair["question"] for pair in pairs])
    assert tokens.tolist() == [pair["input_ids"] for pair in pairs]
    assert mask.tolist() == [pair["attention_mask"] for pair in pairs]


def test_images_become_the_recorded_pixels(golden):
    """Bicubic to a square and normalised: to 1e-5."""
    pairs, arrays, images, judge = golden
    actual = [index for index in range(len(pairs)) if f"pixel_values{index}" in arrays]
    assert actual
    for index in actual:
        image = images[pairs[index]["image"]]
        near(pixels(image, judge.config.image_res), arrays[f"pixel_values{index}"])


def test_states_and_first_logits_are_the_recorded_ones(golden):
    """Image states, fused states and first-step logits of every pair are equal to 1e-5."""
    pairs, arrays, images, judge = golden
    for index, pair in enumerate(pairs):
        image = images[pair["image"]]
        tokens, mask = judge.questions.encode([pair["question"]])
        with torch.inference_mode():
            tower = judge.model.visual_encoder["visual"](pixels(image, judge.config.image_res)[None])
            fused, calls = judge.model.fuse(judge.encode(image), tokens, mask)
            logits = Decoding(judge.model.text_decoder, fused, calls).logits(torch.tensor([[101]]))
        near(tower[0, :8], arrays[f"visual{index}_first8"])
        near(fused[0, -4:], arrays[f"fused_states{index}_last4"])
        near(logits[0, 0], arrays[f"first_step_logits{index}"])


def test_beams_and_scores_are_the_recorded_ones(golden):
    """Every pair's ranked token sequences are equal, their scores to 1e-4."""
    pairs, _, images, judge = golden
    for pair in pairs:
        tokens, mask = judge.questions.encode([pair["question"]])
        (ranked,) = judge.model.answer(judge.encode(images[pair["image"]]), tokens, mask)
        assert [list(beam.tokens) for beam in ranked] == pair["beams"]
        np.testing.assert_allclose([beam.score for beam in ranked], pair["beam_scores"], rtol=0, atol=1e-4)


def test_answers_are_the_recorded_ones(golden):
    """All pairs in one call to the judge, several images at once, give the recorded strings."""
    pairs, _, images, judge = golden
    answers = judge.answer(
        [images[pair["image"]] for pair in pairs], [[Question(pair["question"])] for pair in pairs]
    )
    assert answers == [[pair["answer"]] for pair in pairs]
