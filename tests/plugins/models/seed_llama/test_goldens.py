"""The recorded checkpoint, made and run by the original code, gives the recorded numbers (its README)."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from silmm_plugins.models._shared.vqa import ImagePrefix
from silmm_plugins.models.seed_llama.image_sampling import code_log_probabilities
from silmm_plugins.models.seed_llama.image_weights import _vision_sizes
from silmm_plugins.models.seed_llama.language_model import SeedLM
from silmm_plugins.models.seed_llama.model import SeedLlama
from silmm_plugins.models.seed_llama.options import SeedLlamaOptions
from transformers import LlamaForCausalLM

from silmm.checkpoint.networks import load_pretrained
from silmm.contracts.models import SamplingParams
from silmm.lora.adapters import new_adapter, save_adapter
from silmm.lora.loading import load_adapter

# peft asks transformers so
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
PLACES = range(2)  # cases with recorded numbers
QUESTIONS = ["Is there a cat?", "Is the red cube on the left of the blue sphere? Answer yes or no."]
PROMPTS = ["a cat", "a photo of a red cube on the left of a blue sphere", "two green circles"]
SUM = 1e-4


@dataclass(frozen=True)
class Golden:
    """The recorded folder: images, texts and numbers."""

    folder: Path
    expected: Any
    arrays: Any
    images: list[np.ndarray]


@pytest.fixture(scope="module")
def golden(goldens):
    """Return the recorded folder."""
    folder = goldens / "checkpoints" / "seed-llama"
    images = [
        np.asarray(PIL.Image.open(folder / "inputs" / f"img{i}.png").convert("RGB")) for i in range(3)
    ]
    expected = json.loads((folder / "expected.json").read_text())
    return Golden(folder, expected, np.load(folder / "expected.npz"), images)


@pytest.fixture(scope="module", params=["as it is", "under an adapter of plain peft"])
def model(request, golden, tmp_path_factory) -> SeedLlama:
    """Return the checkpoint, loaded by its path, and after a round trip through peft.

    A fresh adapter has B = 0, so all recorded numbers hold under it.
    """
    model = read(golden.folder)
    if request.param != "as it is":
        folder = tmp_path_factory.mktemp("adapter")
        stock = LlamaForCausalLM.from_pretrained(golden.folder / "seed-llama-8b-sft")
        config = LoraConfig(r=2, target_modules=model.lora_targets)
        get_peft_model(stock, config).save_pretrained(folder)
        load_adapter(model, folder)
    return model


def read(folder: Path, **changes: object) -> SeedLlama:
    return SeedLlama.load(SeedLlamaOptions(path=str(folder), device="cpu", **changes))


def near(actual: object, expected: object) -> Any:
    """Check a float by the README's tolerance, abs <= 1e-5 + 1e-5 |x|."""
    return np.testing.assert_allclose(np.asarray(actual), np.asarray(expected), atol=1e-5, rtol=1e-5)


def test_images_become_the_recorded_codes(golden, model):
    """Pixels, image states, and the codes of images alone and all together are the recorded ones."""
    cases = golden.expected["encode"]
    with torch.no_grad():
        for i in PLACES:
            pixels = model.images.pixels([golden.images[i]])
            near(pixels[0], golden.arrays[f"pixel_values{i}"])
            near(model.images.image_states(pixels)[0], golden.arrays[f"vit_after_ln{i}"])
            assert model.image_codes([golden.images[i]])[0].tolist() == cases[i]["codes"]
        together = model.image_codes(golden.images)
        alone = [model.image_codes([image])[0] for image in golden.images]
    assert together[: len(cases)].tolist() == [case["codes"] for case in cases]
    assert together.tolist() == [codes.tolist() for codes in alone]


def test_what_is_quantised_is_the_recorded(golden, model):
    """The Q-Former's output is the recorded one, which is of images that were scaled bicubically."""
    for i in PLACES:
        side = model.images.visual_encoder.side
        image = PIL.Image.fromarray(golden.images[i]).resize((side, side), PIL.Image.Resampling.BICUBIC)
        with torch.no_grad():
            states = model.images.image_states(model.images.pixels([np.asarray(image)]))
            near(model.images.code_vectors(states)[0], golden.arrays[f"pre_quantization{i}"])
            codes = model.image_codes([np.asarray(image)])[0].tolist()
        assert codes == golden.expected["encode"][i]["codes_with_the_built_in_bicubic_processor"]


def test_codes_become_the_recorded_embeddings(golden, model):
    """The CLIP embedding of given codes is the recorded one, alone and together."""
    codes = torch.tensor([case["codes"] for case in golden.expected["decode"]])
    with torch.no_grad():
        for i in PLACES:
            near(model.images.embed(codes[i : i + 1])[0], golden.arrays[f"image_embedding{i}"])
        near(model.images.embed(codes), [golden.arrays[f"image_embedding{i}"] for i in PLACES])


def test_text_becomes_the_recorded_ids(golden, model):
    """Templates and tokenizer give the recorded texts and ids; so do special and answer ids."""
    for case in golden.expected["vqa"]:
        codes = golden.expected["encode"][int(case["image"][3])]["codes"]
        text = model.template.image_turn(codes) + model.template.question(case["question"])
        assert text == case["prompt"]
        assert model.text.encode(text) == case["input_ids"]
    for case in golden.expected["logp"]:
        assert model.template.sampling(case["prompt"]) == case["prompt_text"]
        assert model.prompt_ids(case["prompt"]) == case["prompt_ids"]
    special, text = golden.expected["special"], model.text
    names = ("boi", "eoi", "image_id_shift", "num_codes", "vocab", "eos")
    actual = (text.boi, text.eoi, text.first_code, text.codes, len(text), text.eos)
    assert dict(zip(names, actual, strict=True)) == {name: special[name] for name in names}
    assert [list(text.yes), list(text.no)] == [golden.expected["yes_ids"], golden.expected["no_ids"]]


def test_answers_are_the_recorded(golden, model):
    """Logits and p(yes), p(no) are the recorded ones, alone and among other images and questions."""
    cases = golden.expected["vqa"]
    expected = [[case["p_yes"], case["p_no"]] for case in cases]
    for i, case in enumerate(cases):
        with torch.no_grad():
            ids, cut, language_model = case["input_ids"], 37, model.language_model
            logits = language_model.logits(model.backbone.model(torch.tensor([ids]))[0][0, -1])
            near(logits, golden.arrays[f"vqa{i}_logits"])
            prefix = ImagePrefix(language_model, language_model.embed(torch.tensor([ids[:cut]])))
            near(prefix.logits([[ids[cut:]]])[0][0], logits)
        near(model.yes_no([golden.images[i]], [[case["question"]]])[0][0], expected[i])
    together = model.yes_no(golden.images, [QUESTIONS, QUESTIONS[::-1], QUESTIONS[:1]])
    near([together[0][0], together[1][0]], expected)
    for image, questions, answers in zip(
        golden.images, [QUESTIONS, QUESTIONS[::-1], QUESTIONS[:1]], together, strict=True
    ):
        near([model.yes_no([image], [[question]])[0][0] for question in questions], answers)


def test_a_question_behind_spaces_is_the_same(golden, model):
    """An added token takes the white space behind it away, and a question stands behind one."""
    asked = [QUESTIONS[0], f"  {QUESTIONS[0]}"]
    first, second = model.yes_no(golden.images[:1], [asked])[0]
    near(second, first)


def test_an_image_is_read_once_for_all_its_questions(golden, model, monkeypatch):
    """However many questions and batches of them there are, an image is encoded and read one time."""
    read_images, real = [], ImagePrefix.__init__

    def counting(self, language_model, vectors):
        read_images.append(len(vectors))
        real(self, language_model, vectors)

    monkeypatch.setattr(ImagePrefix, "__init__", counting)
    model.yes_no(golden.images, [QUESTIONS * 60] * 3)
    assert read_images == [3]


def test_likelihoods_are_the_recorded(golden, model):
    """Log-probabilities of each code over the codes and over all tokens, and of the end, are recorded."""
    cases = golden.expected["logp"]
    codes = torch.tensor([case["codes"] for case in cases])
    span = slice(model.text.first_code, model.text.first_code + model.text.codes)
    with torch.no_grad():
        for i, case in enumerate(cases):
            for full, name in ((False, "logp_codes_only"), (True, "logp_full_vocab")):
                ids = [case["prompt_ids"]]
                actual = code_log_probabilities(model.language_model, ids, codes[i : i + 1], span, full=full)[0]
                near(actual, case[name])
                assert float(actual.sum()) == pytest.approx(case[f"{name}_sum"], abs=SUM)
            tokens = torch.cat([codes[i] + span.start, torch.tensor([model.text.eoi])])[None]
            last = model.language_model.following_states([case["prompt_ids"]], tokens)[:, -1]
            near(model.language_model.logits(last).log_softmax(-1)[0, model.text.eoi], case["logp_eoi"])
        alone = [model.log_likelihood([c["prompt"]], [np.array(c["codes"])]).item() for c in cases]
    sums = [case["logp_codes_only_sum"] for case in cases]
    assert alone == pytest.approx(sums, abs=SUM)
    assert likelihoods(model, golden)[:2] == pytest.approx(sums, abs=SUM)


def likelihoods(model: SeedLlama, golden: Golden) -> list[float]:
    """Return log pi(z|x) of all prompts in one batch."""
    latents = [np.array(golden.expected["logp"][i % 2]["codes"]) for i in range(len(PROMPTS))]
    with torch.no_grad():
        return model.log_likelihood(PROMPTS, latents).tolist()


def test_sampling_is_the_likelihoods_distribution(golden, model):
    """Codes sampled with a number at each step are those that the likelihood's distribution gives it."""
    sampled = model.represent(PROMPTS, [1, 2, 3], SamplingParams())
    span = slice(model.text.first_code, model.text.first_code + model.text.codes)
    for prompt, seed, z in zip(PROMPTS, [1, 2, 3], sampled, strict=True):
        numbers = np.random.Generator(np.random.Philox(key=seed)).random(32)
        tokens = torch.from_numpy(z.astype(np.int64))[None] + span.start
        with torch.no_grad():
            states = model.language_model.following_states([model.prompt_ids(prompt)], tokens)
            p = model.language_model.logits_of(states, span).softmax(-1)[0].double().cumsum(-1).numpy()
        low = np.where(z > 0, p[np.arange(32), np.maximum(z - 1, 0)], 0.0)
        assert (low - 1e-5 <= numbers).all()
        assert (numbers <= p[np.arange(32), z] + 1e-5).all()


def test_numbers_survive_plain_peft(golden, tmp_path):
    """A LoRA adapter changes the likelihoods; plain peft and a second load give the same; off, the base."""
    model = read(golden.folder)
    base = likelihoods(model, golden)
    new_adapter(model, rank=4, alpha=8, seed=0)
    assert likelihoods(model, golden) == base
    with torch.no_grad():
        for name, parameter in model.backbone.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
    tuned = likelihoods(model, golden)
    save_adapter(model, tmp_path / "adapter")
    load_adapter(model, None)
    assert likelihoods(model, golden) == base
    load_adapter(model, tmp_path / "adapter")
    assert likelihoods(model, golden) == tuned
    load_adapter(model, None)
    assert np.abs(np.subtract(base, tuned)).max() > 0.1
    case = golden.expected["logp"][1]
    fresh = load_pretrained(LlamaForCausalLM, golden.folder / "seed-llama-8b-sft", torch.float32)
    span = slice(model.text.first_code, model.text.first_code + model.text.codes)
    plain = PeftModel.from_pretrained(fresh, tmp_path / "adapter").base_model.model.eval()
    with torch.no_grad():
        codes = torch.tensor([case["codes"]])
        actual = code_log_probabilities(SeedLM(plain), [case["prompt_ids"]], codes, span).sum().item()
    assert actual == pytest.approx(tuned[1], abs=SUM)


def test_bfloat16_stays_near(golden, model):
    """In bfloat16 a token's log-probability moves by less than 0.02 nats on average, p by less than 0.02."""
    rough = read(golden.folder, dtype="bfloat16")
    difference = np.abs(np.subtract(likelihoods(rough, golden), likelihoods(model, golden))).max() / 32
    assert 0 < difference < 0.02
    asked = [QUESTIONS] * 3
    exact, near_it = (np.stack(m.yes_no(golden.images, asked)) for m in (model, rough))
    assert np.abs(exact - near_it).max() < 0.02


def test_the_image_encoder_may_lie_in_its_own_file(golden, tmp_path):
    """Without an image encoder in seed_quantizer.pt, eva_vit_g.pth gives the same codes."""
    shutil.copytree(golden.folder / "seed-tokenizer-2", tmp_path / "tokenizer", copy_function=shutil.copyfile)
    path = tmp_path / "tokenizer" / "seed_quantizer.pt"
    weights = torch.load(path, weights_only=True)
    torch.save({k: v for k, v in weights.items() if not k.startswith("visual_encoder.")}, path)
    model = read(golden.folder, tokenizer=str(tmp_path / "tokenizer"))
    for image, case in zip(golden.images, golden.expected["encode"], strict=False):
        assert model.image_codes([image])[0].tolist() == case["codes"]


def test_the_published_image_encoder_has_16_heads():
    """At its width that is known; another width takes what is given, or else a guess."""
    shapes = {"patch_embed.proj.weight": (1408, 3, 14, 14), "pos_embed": (1, 257, 1408)}
    shapes["blocks.0.mlp.fc1.weight"] = (6144, 1408)
    weights = {f"visual_encoder.{name}": torch.empty(size, device="meta") for name, size in shapes.items()}
    assert _vision_sizes(weights, vit_heads=0, guess=32).heads == 16
    assert _vision_sizes(weights, vit_heads=8, guess=32).heads == 8


def test_the_language_models_own_folder_is_enough(golden):
    """Given the folder of the language model, the other parts are found beside it."""
    model = read(golden.folder / "seed-llama-8b-sft")
    assert model.image_codes([golden.images[0]])[0].tolist() == golden.expected["encode"][0]["codes"]
    assert model.probe()["unused tensors"] == []
