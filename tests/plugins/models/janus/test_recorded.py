"""Both layouts give the numbers of the original code: alone, in mixed batches, after a PEFT round trip."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from silmm_plugins.models.janus import image_sampling as sampling
from transformers import JanusForConditionalGeneration

from silmm.contracts.models import SamplingParams
from silmm.lora.loading import load_adapter

TOLERANCE = 1e-5
"""Of tests/goldens/README.md, absolute and relative; sums of log-probabilities have ten times that."""
LONGER = "Three green pears and a tall glass vase stand in front of a striped curtain, behind two cups."
LAYOUTS = ("original", "transformers")
UNDER_PEFT = "under an adapter of plain peft"
# peft asks transformers so
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.fixture(scope="module")
def expected(recorded):
    """The recorded texts, ids and probabilities."""
    return json.loads((recorded / "expected.json").read_text())


@pytest.fixture(scope="module")
def arrays(recorded):
    """The recorded tensors."""
    with np.load(recorded / "expected.npz") as file:
        return dict(file)


@pytest.fixture(scope="module", params=[*LAYOUTS, UNDER_PEFT])
def model(request, load, recorded, tmp_path_factory):
    """The recorded weights in each layout, given only the folder's path, and after a round trip through peft.

    A fresh adapter has B = 0, so all recorded numbers hold under it.
    """
    if request.param != UNDER_PEFT:
        return load(recorded / request.param)
    folder = tmp_path_factory.mktemp("adapter")
    wrapped(recorded, load(recorded / "transformers")).save_pretrained(folder, save_embedding_layers=False)
    model = load(recorded / "original")
    load_adapter(model, folder)
    return model


def wrapped(recorded, model):
    """Return the stock class with a fresh LoRA of plain peft."""
    stock = JanusForConditionalGeneration.from_pretrained(recorded / "transformers").eval()
    return get_peft_model(stock, LoraConfig(r=2, target_modules=model.lora_targets)).eval()


@pytest.fixture(scope="module")
def recorded_images(recorded):
    """The recorded images by name."""
    paths = sorted((recorded / "inputs").glob("*.png"))
    return {path.name: np.asarray(Image.open(path).convert("RGB")) for path in paths}


def close(actual, expected, tolerance=TOLERANCE):
    """Assert |found - expected| <= tolerance * (1 + |expected|)."""
    np.testing.assert_allclose(np.asarray(actual), np.asarray(expected), atol=tolerance, rtol=tolerance)


def log_likelihoods(model, prompts, codes):
    """Return the log-probability of each code."""
    with torch.no_grad():
        return sampling.log_likelihoods(model.network, model.prompts, prompts, torch.tensor(codes)).numpy()


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
        calls = [words.image] * model.network.image_length
        assert words.before_image() + calls + words.question(case["question"]) == case["input_ids"]
    for case in expected["logp"]:
        assert words.sampling(case["prompt"]) == case["input_ids"]


def test_images_are_prepared_as_the_original_does(model, expected, arrays, recorded_images):
    """Scaling, padding and normalising give the recorded pixel values, of landscape and square images."""
    for number, case in enumerate(expected["vqa"]):
        close(model.processor.pixels([recorded_images[case["image"]]])[0], arrays[f"vqa{number}_pixel_values"])


def test_a_question_alone(model, expected, arrays, recorded_images):
    """Embeddings of the image, logits after the question and p(yes), p(no) are the recorded ones."""
    for number, case in enumerate(expected["vqa"]):
        pixels = torch.from_numpy(arrays[f"vqa{number}_pixel_values"])[None]
        with torch.inference_mode():
            close(model.network.encode_images(pixels)[0], arrays[f"vqa{number}_image_embeds"])
            (logits,) = model.image_prefix(pixels).logits([[model.prompts.question(case["question"])]])
            close(logits[0], arrays[f"vqa{number}_logits"])
        answer = model.yes_no([recorded_images[case["image"]]], [[case["question"]]])[0]
        close(answer, [[case["p_yes"], case["p_no"]]])


def test_questions_in_a_mixed_batch(model, expected, recorded_images):
    """Among other images and questions of other lengths each recorded answer stays the same."""
    cases = expected["vqa"]
    images = [recorded_images[case["image"]] for case in cases] + [recorded_images["img2.png"]]
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
def test_guided_codes_and_their_images(model, expected, arrays, company):
    """Guidance 5 with the likeliest code at each step gives the recorded codes and images."""
    for number, case in enumerate(expected["cfg"]):
        assert case["cfg_weight"] == model.options.guidance
        prompts = [case["prompt"], *company]
        codes = model.represent(prompts, range(len(prompts)), SamplingParams(temperature=0))
        assert codes[0].tolist() == case["argmax_codes"]
        with torch.inference_mode():
            close(model.network.decode(torch.from_numpy(codes[0][None]).long())[0], arrays[f"decoded{number}"])
        image = model.decode(codes, [0] * len(codes))[0]
        assert np.abs(image.astype(int) - arrays[f"decoded{number}_uint8"]).max() <= 1


def test_the_image_tokenizer_reads_the_recorded_codes(model, expected, arrays):
    """The encoder half, which alignment does not use, is loaded as well: its codes are the recorded ones."""
    assert expected["vq_encode"]["image"] == expected["vqa"][0]["image"]
    pixels = torch.from_numpy(arrays["vqa0_pixel_values"])[None]
    with torch.inference_mode():
        codes = model.network.code(pixels)
    assert codes.flatten().tolist() == expected["vq_encode"]["codes"]


@torch.inference_mode()
def test_an_adapter_gives_the_stock_classs_numbers(load, recorded, expected, arrays, recorded_images, tmp_path):
    """A LoRA that changes the stock class changes answers here to the same ones, and comes off again."""
    model = load(recorded / "original")
    tuned = wrapped(recorded, model)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            parameter.normal_(std=0.1, generator=generator)
    tuned.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    case = expected["vqa"][1]
    pixels = torch.from_numpy(arrays["vqa1_pixel_values"])[None]
    p = tuned(input_ids=torch.tensor([case["input_ids"]]), pixel_values=pixels).logits[0, -1].softmax(-1)
    reference = [float(p[model.prompts.yes].sum()), float(p[model.prompts.no].sum())]
    recorded_ones = [case["p_yes"], case["p_no"]]
    assert np.abs(np.subtract(reference, recorded_ones)).max() > 1e-3
    for folder, answers in ((tmp_path / "adapter", reference), (None, recorded_ones)):
        load_adapter(model, folder)
        close(model.yes_no([recorded_images[case["image"]]], [[case["question"]]])[0], [answers])


def test_both_layouts_are_one_model(load, recorded):
    """Every tensor of the original layout arrives under its transformers name, bit for bit."""
    first, second = (load(recorded / layout).backbone.state_dict() for layout in LAYOUTS)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
