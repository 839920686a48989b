"""Promises of `tiny-continuous` as a base model: H, images and answers by their own inputs alone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from silmm_benchmarks.shapes.language import parse_caption
from silmm_plugins.models._shared.mlp_dropout import MlpDropoutOptions, mlp_dropout
from silmm_plugins.models.tiny.options import verify
from silmm_plugins.models.tiny.vocabulary import Vocabulary
from silmm_plugins.models.tiny_continuous.decoder import TinyDecoder
from silmm_plugins.models.tiny_continuous.language_model import TinyContinuousLM
from silmm_plugins.models.tiny_continuous.model import TinyContinuous
from silmm_plugins.models.tiny_continuous.options import WEIGHTS

from silmm.contracts.models import ChatRequest, SamplingParams
from silmm.errors import DataError, UsageError
from silmm.lora.adapters import new_adapter, trainable_parameters
from training.tiny_continuous import measure
from training.tiny_discrete.text_tasks import WORDS

PROMPTS = ["a circle", "a red circle and a blue square", "three rings", "a cross is below a green diamond"]
QUESTIONS = [
    ["is there a circle?"], ["is there a red circle?", "is there a blue square?"],
    ["are there three rings?"], [],
]  # fmt: skip
FILES = ("config.json", "language_model.safetensors", "decoder.safetensors")
ATOL = 2e-4  # float32 sums in another order, after six layers


@pytest.fixture(scope="module")
def model():
    """A model of the real architecture with random weights, loud enough that choices matter."""
    torch.manual_seed(0)
    language_model = TinyContinuousLM(
        Vocabulary(WORDS), hidden=32, layers=2, heads=2, mlp=48, queries=5, patch_mlp=16
    )
    decoder = TinyDecoder(32, 16, 2, 2, codes=20, noise_slots=6, noise_levels=24)
    with torch.no_grad():
        language_model.backbone.get_input_embeddings().weight *= 20
        decoder.noise.weight *= 5
        decoder.codebook[:] = torch.rand(20, 48)
    return TinyContinuous(language_model, decoder)


@pytest.fixture(scope="module")
def shipped():
    """The model as users get it."""
    return TinyContinuous.load()


@pytest.fixture(params=["model", "shipped"])
def either(request):
    """Each of the two in turn."""
    return request.getfixturevalue(request.param)


def represent(model, prompts):
    """Return H of each prompt as one array."""
    return np.stack(model.represent(prompts, list(range(len(prompts))), SamplingParams()))


def test_h_does_not_depend_on_the_batch(either):
    """H of a prompt alone equals H beside longer and shorter prompts, and beside itself."""
    together = represent(either, [*PROMPTS, PROMPTS[0]])
    assert together.dtype == np.float32
    assert together.shape[1:] == either.query_embeddings().shape
    for prompt, expected in zip(PROMPTS, together, strict=False):
        assert represent(either, [prompt])[0] == pytest.approx(expected, abs=ATOL)
    assert np.array_equal(together[0], together[-1])


def test_h_has_no_chance_in_it(either):
    """Every seed and every way of sampling gives the same H: diversity is the sampler's affair."""
    first = either.represent([PROMPTS[1]] * 2, [1, 2], SamplingParams())
    second = either.represent([PROMPTS[1]], [3], SamplingParams(0.1, 0.2))
    assert np.array_equal(first[0], first[1])
    assert np.array_equal(first[0], second[0])


def test_a_image_is_of_its_h_and_its_seed_alone(either):
    """The same H and seed decode the same image in any company; another seed decodes another one."""
    latents = list(represent(either, PROMPTS))
    together = either.decode(latents, [1, 2, 3, 4])
    for latent, seed, image in zip(latents, [1, 2, 3, 4], together, strict=True):
        assert image.shape == (32, 32, 3)
        assert image.dtype == np.uint8
        assert np.array_equal(either.decode([latent], [seed])[0], image)
    others = either.decode([latents[0]] * 8, list(range(8)))
    assert len({image.tobytes() for image in others}) > 1


@pytest.mark.parametrize("broken", ["shape", "nan"])
def test_features_that_are_not_the_models_own_are_refused(model, broken):
    """Another shape or a NaN is an error that says what is asked, before anything is decoded."""
    latent = represent(model, PROMPTS[:1])[0]
    wrong = latent[:-1] if broken == "shape" else np.where(latent == latent.max(), np.nan, latent)
    with pytest.raises(DataError, match="finite features of the shape"):
        model.decode([wrong], [0])


def test_gradients_reach_the_adapter_and_nothing_else():
    """H is differentiable in the LoRA weights; queries, decoder and words stay as they are."""
    torch.manual_seed(0)
    own = TinyContinuous(
        TinyContinuousLM(Vocabulary(WORDS), hidden=32, layers=2, heads=2, mlp=48, queries=5, patch_mlp=16),
        TinyDecoder(32, 16, 1, 2, codes=20, noise_slots=6, noise_levels=24),
    )
    new_adapter(own, rank=2, alpha=2, seed=0)
    parameters = trainable_parameters(own)
    own.features(PROMPTS).square().sum().backward()
    everything = [*own.language_model.named_parameters(), *own.decoder.named_parameters()]
    touched = {name for name, p in everything if p.grad is not None}
    assert touched
    assert all("lora_" in name for name in touched)
    assert len(touched) == len(parameters)


def test_query_offsets_are_added_to_the_queries(model):
    """Offsets that are the difference of two sets of queries give the H of the other set."""
    other = TinyContinuousLM(Vocabulary(WORDS), hidden=32, layers=2, heads=2, mlp=48, queries=5, patch_mlp=16)
    other.load_state_dict(model.language_model.state_dict())
    torch.manual_seed(1)
    offset = torch.randn(5, 32)
    with torch.no_grad():
        other.queries += offset
        ids = [model.prompt_ids(p) for p in PROMPTS]
        expected = other.features(ids)
        found = model.features(PROMPTS, offset.expand(len(PROMPTS), -1, -1))
    torch.testing.assert_close(found, expected, atol=ATOL, rtol=1e-4)


def test_dropout_reaches_h_and_leaves_no_trace(either):
    """The MLP blocks are those that H goes through: dropout in the last one alone changes H, once."""
    queries = len(either.query_embeddings())
    plain = represent(either, PROMPTS)
    with torch.no_grad(), mlp_dropout(either, [1] * 4, MlpDropoutOptions(layers="last:1"), queries):
        dropped = either.features(PROMPTS).numpy()
    assert np.abs(dropped - plain).max() > 100 * ATOL
    assert np.array_equal(represent(either, PROMPTS), plain)


def test_answers_do_not_depend_on_the_batch(either):
    """p(yes), p(no) of an image are the same alone and among others with other questions."""
    images = either.decode(list(represent(either, PROMPTS)), [0] * 4)
    together = either.yes_no(images, QUESTIONS)
    assert [a.shape for a in together] == [(len(q), 2) for q in QUESTIONS]
    for image, questions, answers in zip(images, QUESTIONS, together, strict=True):
        for row, question in enumerate(questions):
            alone = either.yes_no([image], [[question]])[0][0]
            assert alone == pytest.approx(answers[row], abs=ATOL)


def test_rewritten_prompts_are_prompts(shipped):
    """Asked to rephrase or to explain, it answers in the language of its world."""
    for task in ("rephrase", "explain"):
        for reply in shipped.chat([ChatRequest(task, p, seed=n) for n, p in enumerate(PROMPTS)]):
            parse_caption(reply)


def test_a_device_that_is_not_there_is_refused():
    """An unknown device is named before any weight is read."""
    with pytest.raises(UsageError, match="tiny-continuous cannot use the device 'nonsense'"):
        TinyContinuous.load(device="nonsense")


@pytest.mark.parametrize("cut", [*FILES, None])
def test_damaged_weights_are_refused(tmp_path, cut):
    """Each file cut short, or all of them missing: an error that names the folder and what to do."""
    for name in FILES if cut else ():
        content = (WEIGHTS / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) - 100 * (name == cut)])
    with pytest.raises(DataError, match="train them again"):
        TinyContinuous.load(tmp_path)


def test_the_shipped_weights_are_the_carded_ones_and_small():
    """Hashes match sha256.json, and all files together stay within 15 MB."""
    assert "verified" in verify(WEIGHTS)
    files = list(WEIGHTS.iterdir())
    assert {f.name for f in files} == {*FILES, "sha256.json"}
    assert sum(f.stat().st_size for f in files) <= 15e6


MEASURED = Path(__file__).parents[3] / "docs" / "results" / "tiny-continuous.json"


def test_what_the_card_says_was_measured_on_these_weights():
    """The figures belong to the shipped files and keep the promises that are kept."""
    measured = json.loads(MEASURED.read_text())
    card = WEIGHTS / "sha256.json"
    assert measured["weights"] == hashlib.sha256(card.read_bytes()).hexdigest()
    assert measured["VQA accuracy"]["overall"]["right"] >= 0.92
    assert 0.35 <= measured["sampling on the tune prompts"]["facts"] <= 0.75
    head = measured["headroom on the tune prompts, ten candidates"]
    assert head["best H, fresh noise"] >= head["mean"] + 0.10
    assert measured["decoder behind its teacher"]["training captions"]["facts"] >= 0.95


@pytest.mark.slow
def test_the_shipped_model_answers_and_samples_as_measured(shipped):
    """A small part of the measurement, done anew, agrees with the figures on file."""
    measured = json.loads(MEASURED.read_text())
    again = measure.answering(shipped, scenes=200)["overall"]["right"]
    assert again == pytest.approx(measured["VQA accuracy"]["overall"]["right"], abs=0.03)
    sampled = measure.sampling(shipped, measure.tune_prompts())["facts"]
    assert sampled == pytest.approx(measured["sampling on the tune prompts"]["facts"], abs=0.01)
