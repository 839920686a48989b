"""The recorded checkpoint gives the numbers of the original code, loaded by its path alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from silmm_plugins.models.dreamllm.model import DreamLlm
from transformers import LlamaConfig, LlamaForCausalLM

from silmm.contracts.models import SamplingParams
from silmm.lora.loading import load_adapter
from tests.plugins.models.dreamllm.conftest import load

# peft asks transformers so
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
LONG = "a very long prompt that pads all the others far to the left, with many words and a blue sphere " * 3


@pytest.fixture(scope="module", params=["as it is", "under an adapter of plain peft"])
def model(request, golden, tmp_path_factory) -> DreamLlm:
    """The recorded checkpoint, and it after a round trip through peft.

    A fresh adapter has B = 0, so all recorded numbers hold under it.
    """
    model = load(golden / "original", steps=4)
    if request.param != "as it is":
        folder = tmp_path_factory.mktemp("adapter")
        wrapped(golden, model).save_pretrained(folder)
        load_adapter(model, folder)
    return model


def wrapped(golden, model):
    """Return stock Llama with the recorded weights and a fresh LoRA of plain peft."""
    config = json.loads((golden / "original" / "config.json").read_text())
    options = LlamaConfig(**{key: item for key, item in config.items() if key != "model_type"})
    stock = LlamaForCausalLM.from_pretrained(golden / "original", config=options)
    return get_peft_model(stock, LoraConfig(r=2, target_modules=model.lora_targets)).eval()


@pytest.fixture(scope="module")
def expected(golden) -> dict:
    """Texts and numbers of the original code."""
    arrays = dict(np.load(golden / "expected.npz"))
    return {**json.loads((golden / "expected.json").read_text()), **arrays}


def image(golden, name):
    """Return an input image as an array."""
    return np.asarray(Image.open(golden / "inputs" / name).convert("RGB"))


def close(actual, recorded):
    """Compare within the tolerance of the recordings; return nothing."""
    np.testing.assert_allclose(np.asarray(actual), recorded, rtol=1e-5, atol=1e-5)


def test_ids_of_prompts_and_of_special_tokens(model, expected):
    """Prompts have the original's ids; special tokens those of config.json, which are not in list order."""
    words = model.tokenizer
    for case in expected["prompts"]:
        ids = [words.bos, *words.encode(case["prompt"], after_special=False)]
        assert ids == case["input_ids"]
    assert words.special["<im_start>"] < words.special["<dream_start>"] < words.special["<im_patch>"]
    assert words.yes == expected["yes_ids"]
    assert words.no == expected["no_ids"]


def test_h_and_condition_alone_and_in_a_padded_batch(model, expected):
    """H of each prompt, and the UNet's condition, alone and beside a prompt that is ten times as long."""
    prompts = [case["prompt"] for case in expected["prompts"]]
    together = model.represent([*prompts, LONG, ""], range(len(prompts) + 2), SamplingParams())
    for number, prompt in enumerate(prompts):
        alone = model.represent([prompt], [0], SamplingParams())[0]
        for h in (alone, together[number]):
            close(h, expected[f"H{number}"])
            close(model.decoder.project(torch.from_numpy(h)), expected[f"condition{number}"])
    right_padded = expected["H_batch_right_padded_reference"]
    assert np.abs(right_padded[0] - together[0]).max() > 1  # batches of the original are not the definition


@torch.no_grad()
def test_an_adapter_gives_the_stock_classs_h(golden, expected, tmp_path):
    """A LoRA that changes stock Llama changes H here to the same one, and comes off again."""
    model = load(golden / "original")
    tuned = wrapped(golden, model)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            parameter.normal_(std=0.1, generator=generator)
    tuned.save_pretrained(tmp_path / "adapter")
    words = torch.tensor([[*expected["prompts"][1]["input_ids"], model.tokenizer.special["<dream_start>"]]])
    queries = model.query_embeddings()
    vectors = torch.cat([tuned.get_input_embeddings()(words), queries[None]], 1)
    reference = tuned.base_model.model.model(inputs_embeds=vectors).last_hidden_state[0, -len(queries) :]
    assert (reference - torch.from_numpy(expected["H1"])).abs().max() > 0.01
    for folder, h in ((tmp_path / "adapter", reference), (None, expected["H1"])):
        load_adapter(model, folder)
        close(model.represent([expected["prompts"][1]["prompt"]], [0], SamplingParams())[0], h)


@torch.inference_mode()
def test_the_decoder(model, expected):
    """One call of the UNet, one of the VAE, and a whole sample of four steps with guidance 3.5."""
    decoder, latents = model.decoder, torch.from_numpy(expected["latents"])[None]
    close(
        decoder.noise(latents, 500, torch.from_numpy(expected["condition1"])[None])[0],
        expected["unet_noise_pred_t500_condition1"],
    )
    decoded = decoder.images(latents)[0]
    close(decoded, (expected["vae_decode_latents_over_scale"] / 2 + 0.5).clip(0, 1))
    final = decoder.denoise(
        torch.from_numpy(expected["H1"])[None],
        model.features([""]),
        latents,
        [torch.Generator().manual_seed(expected["sample"]["generator_seed"])],
        steps=expected["sample"]["num_inference_steps"],
        guidance=expected["sample"]["guidance_scale"],
    )
    close(final[0], expected["sample_latents"])


@torch.inference_mode()
def test_what_it_sees(golden, model, expected):
    """Pixels after CLIP's preprocessing, projected vectors and logits at the answer, each image alone."""
    for number, case in enumerate(expected["vqa"]):
        pixels = model.vision.pixels([image(golden, case["image"])])
        close(pixels[0], expected[f"vqa{number}_pixel_values"])
        close(model.vision.vectors(pixels)[0], expected[f"vqa{number}_image_embeds"])
        (logits,) = model.image_prefix(pixels).logits([model.question_ids([case["question"]])])
        close(logits[0], expected[f"vqa{number}_logits"])


def test_answers_beside_other_images_and_questions(golden, model, expected):
    """p(yes), p(no) are those recorded for one question alone, also where an image is read once for many."""
    questions = [case["question"] for case in expected["vqa"]]
    images = [image(golden, case["image"]) for case in expected["vqa"]]
    together = model.yes_no(
        [*images, image(golden, "img2.png")],
        [questions, [*questions[::-1], "Is it a very blue sphere?"], []],
    )
    for number, case in enumerate(expected["vqa"]):
        recorded = [case["p_yes"], case["p_no"]]
        close(model.yes_no([images[number]], [[case["question"]]])[0][0], recorded)
        close(together[number][0], recorded)  # its own question comes first in both lists
    assert together[2].shape == (0, 2)


def test_float32_companions_may_be_named(golden, expected):
    """The folder of configurations by name gives what finding it beside the checkpoint gives."""
    model = load(golden / "original", companions=str(golden / "companions"))
    close(model.represent([expected["prompts"][0]["prompt"]], [0], SamplingParams())[0], expected["H0"])


def test_bfloat16_weights_stay_near(golden, model, expected):
    """With weights in bfloat16, H stays within 5 % and p(yes) within 0.02 of float32."""
    small = load(golden / "original", dtype="bfloat16")
    for number, case in enumerate(expected["prompts"]):
        h, recorded = small.represent([case["prompt"]], [0], SamplingParams())[0], expected[f"H{number}"]
        assert 0 < np.linalg.norm(h - recorded) / np.linalg.norm(recorded) < 0.05
    for case in expected["vqa"]:
        answer = small.yes_no([image(golden, case["image"])], [[case["question"]]])[0][0]
        assert answer == pytest.approx([case["p_yes"], case["p_no"]], abs=0.02)
