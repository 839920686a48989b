"""Both layouts give the numbers of the original code: alone, in mixed batches, after a PEFT round trip."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from silmm_plugins.janus import drawing, looking
from transformers import JanusForConditionalGeneration

from silmm.interfaces import Drawing

TOLERANCE = 1e-5
"""Of goldens/checkpoints/README.md, absolute and relative; sums of log-probabilities have ten times that."""
LONGER = "Three green pears and a tall glass vase stand in front of a striped curtain, behind two cups."
LAYOUTS = ("original", "transformers")


@pytest.fixture(scope="module")
def expected(recorded):
    """The recorded texts, ids and probabilities."""
    return json.loads((recorded / "expected.json").read_text())


@pytest.fixture(scope="module")
def arrays(recorded):
    """The recorded tensors."""
    with np.load(recorded / "expected.npz") as file:
        return dict(file)


@pytest.fixture(scope="module", params=LAYOUTS)
def model(request, load, recorded):
    """The recorded weights in each layout, given only the folder's path."""
    return load(recorded / request.param)


@pytest.fixture(scope="module")
def pictures(recorded):
    """The recorded pictures by name."""
    paths = sorted((recorded / "inputs").glob("*.png"))
    return {path.name: np.asarray(Image.open(path).convert("RGB")) for path in paths}


def close(found, expected, tolerance=TOLERANCE):
    """Assert |found - expected| <= tolerance * (1 + |expected|)."""
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=tolerance, rtol=tolerance)


def log_likelihoods(model, prompts, codes):
    """Return the log-probability of each code."""
    with torch.no_grad():
        return drawing.log_likelihoods(model.network, model.prompts, prompts, torch.tensor(codes)).numpy()


def test_ids_are_the_originals(model, expected):
    """Special tokens, spellings of yes and no, and all templates give the recorded ids."""
    words = model.prompts
    special = expected["special"]
    assert (words.bos, words.eos, words.pad) == (special["bos"], special["eos"], special["pad"])
    assert (words.start, words.end, words.image) == (
        special["image_start"], special["image_end"], special["image"]
    )
    assert (words.yes, words.no) == (expected["yes_ids"], expected["no_ids"])
    for case in expected["vqa"]:
        seen = [words.image] * model.network.image_length
        assert words.before_picture() + seen + words.question(case["question"]) == case["input_ids"]
    for case in expected["logp"]:
        assert words.drawing(case["prompt"]) == case["input_ids"]


def test_pictures_are_prepared_as_the_original_does(model, expected, arrays, pictures):
    """Scaling, padding and normalising give the recorded pixel values, of landscape and square pictures."""
    for number, case in enumerate(expected["vqa"]):
        close(model.reader.read([pictures[case["image"]]])[0], arrays[f"vqa{number}_pixel_values"])


def test_a_question_alone(model, expected, arrays, pictures):
    """Embeddings of the picture, logits after the question and p(yes), p(no) are the recorded ones."""
    for number, case in enumerate(expected["vqa"]):
        pixels = torch.from_numpy(arrays[f"vqa{number}_pixel_values"])[None]
        with torch.inference_mode():
            close(model.network.look(pixels)[0], arrays[f"vqa{number}_image_embeds"])
            cache, length = looking.read_pictures(model.network, model.prompts, pixels)
            ids = [[model.prompts.question(case["question"])]]
            close(looking.answer_logits(model.network, cache, length, ids)[0], arrays[f"vqa{number}_logits"])
        answer = model.yes_no([pictures[case["image"]]], [[case["question"]]])[0]
        close(answer, [[case["p_yes"], case["p_no"]]])


def test_questions_in_a_mixed_batch(model, expected, pictures):
    """Among other pictures and questions of other lengths each recorded answer stays the same."""
    cases = expected["vqa"]
    images = [pictures[case["image"]] for case in cases] + [pictures["img2.png"]]
    others = [case["question"] for case in reversed(cases)]
    asked = [[other, case["question"], "Why?"] for case, other in zip(cases, others, strict=True)]
    answers = model.yes_no(images, [*asked, ["Is it?"]])
    for case, rows in zip(cases, answers, strict=False):
        close(rows[1], [case["p_yes"], case["p_no"]])


def test_log_probabilities(model, expected):
    """Each code's log-probability is the recorded one, alone and beside longer and shorter prompts."""
    cases = expected["logp"]
    for case in cases:
        close(log_likelihoods(model, [case["prompt"]], [case["codes"]])[0], case["logp_per_token"])
    prompts = [*(case["prompt"] for case in cases), LONGER]
    codes = [*(case["codes"] for case in cases), cases[0]["codes"]]
    together = log_likelihoods(model, prompts, codes)
    for case, row in zip(cases, together, strict=False):
        close(row, case["logp_per_token"])
    latents = [np.array(row, dtype=np.int32) for row in codes]
    with torch.no_grad():
        sums = model.log_likelihood(prompts, latents)
    close(sums[: len(cases)], [case["logp_sum"] for case in cases], 10 * TOLERANCE)


@pytest.mark.parametrize("company", [[], [LONGER, "x"]], ids=["alone", "mixed"])
def test_guided_codes_and_their_pictures(model, expected, arrays, company):
    """Guidance 5 with the likeliest code at each step gives the recorded codes and pictures."""
    for number, case in enumerate(expected["cfg"]):
        assert case["cfg_weight"] == model.guidance
        prompts = [case["prompt"], *company]
        codes = model.represent(prompts, range(len(prompts)), Drawing(temperature=0))
        assert codes[0].tolist() == case["argmax_codes"]
        with torch.inference_mode():
            close(model.network.paint(torch.from_numpy(codes[0][None]).long())[0], arrays[f"decoded{number}"])
        picture = model.decode(codes, [0] * len(codes))[0]
        assert np.abs(picture.astype(int) - arrays[f"decoded{number}_uint8"]).max() <= 1


def test_the_image_tokenizer_reads_the_recorded_codes(model, expected, arrays):
    """The encoder half, which alignment does not use, is loaded as well: its codes are the recorded ones."""
    assert expected["vq_encode"]["image"] == expected["vqa"][0]["image"]
    pixels = torch.from_numpy(arrays["vqa0_pixel_values"])[None]
    with torch.inference_mode():
        codes = model.network.code(pixels)
    assert codes.flatten().tolist() == expected["vq_encode"]["codes"]


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks transformers so
def test_after_a_round_trip_through_plain_peft(model, recorded, expected, pictures, tmp_path):
    """An adapter that plain peft made on the stock class loads, keeps the numbers at B = 0, and comes off."""
    stock = JanusForConditionalGeneration.from_pretrained(recorded / "transformers")
    config = LoraConfig(r=2, target_modules=model.lora_targets)
    get_peft_model(stock, config).save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    case, asked = expected["logp"][1], expected["vqa"][1]
    for folder in (tmp_path / "adapter", None):
        model.load_adapter(folder)
        close(log_likelihoods(model, [case["prompt"]], [case["codes"]])[0], case["logp_per_token"])
        answer = model.yes_no([pictures[asked["image"]]], [[asked["question"]]])[0]
        close(answer, [[asked["p_yes"], asked["p_no"]]])


def test_both_layouts_are_one_model(load, recorded):
    """Every tensor of the original layout arrives under its transformers name, bit for bit."""
    first, second = (load(recorded / layout).backbone.state_dict() for layout in LAYOUTS)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
